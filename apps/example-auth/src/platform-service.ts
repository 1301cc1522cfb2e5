import { service, withServices } from '@quintet/core'
import { z } from 'zod'
import type { AuthServices } from './services.ts'

const { procedure } = withServices<AuthServices>()

/** What only the operators of the platform may do. */
export const platform = service('platform', {
  setMaintenance: procedure(
    {
      access: { roles: ['operator'] },
      freshness: 'strict',
      description: 'Turns maintenance mode of the gateway on or off, for everything or for one app.',
      input: z.strictObject({
        on: z.boolean(),
        app: z
          .string()
          .regex(/^[a-z][a-z0-9-]*$/)
          .optional(),
      }),
      output: z.object({ key: z.string(), on: z.boolean() }),
    },
    async ({ input, services, principal, logger }) => {
      const key = input.app === undefined ? 'platform:maintenance' : `platform:maintenance:${input.app}`
      const redis = services.redis.client('sessions')
      if (input.on) await redis.set(key, '1')
      else await redis.del(key)
      logger.warn({ key, on: input.on, by: principal.userId }, 'maintenance changed')
      return { key, on: input.on }
    },
  ),
})
