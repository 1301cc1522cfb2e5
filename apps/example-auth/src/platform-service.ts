import { service, type UserPrincipal, withServices } from '@quintet/core'
import { z } from 'zod'
import { recordAudit } from './audit.ts'
import { operator } from './roles.ts'
import type { AuthServices } from './services.ts'

const { procedure } = withServices<AuthServices>()

/** What only the operators of the platform may do. */
export const platform = service('platform', {
  setMaintenance: procedure(
    {
      access: operator,
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
      await recordAudit(services.db, { ...by(principal), type: 'maintenance.changed' })
      logger.warn({ key, on: input.on, by: principal.userId }, 'maintenance changed')
      return { key, on: input.on }
    },
  ),

  settings: procedure(
    {
      access: operator,
      description: 'The settings that apply now, and the version up to which changes are in them.',
      input: z.strictObject({}),
      output: z.object({ version: z.int(), values: z.record(z.string(), z.unknown()) }),
    },
    async ({ services: { settings } }) => ({ version: settings.version, values: settings.values }),
  ),

  setSetting: procedure(
    {
      access: operator,
      freshness: 'strict',
      description: 'Changes a setting in every process at once, with a record of who did.',
      input: z.strictObject({ key: z.string(), value: z.unknown(), reason: z.string().max(500).optional() }),
      output: z.object({ version: z.int() }),
    },
    async ({ input: { key, value, reason }, services, principal }) => {
      const given = { actor: principal.userId, ...(reason && { reason }) }
      const version = await services.settings.change(key, value, given)
      await recordAudit(services.db, { ...by(principal), type: 'setting.changed' })
      return { version }
    },
  ),

  rollbackSetting: procedure(
    {
      access: operator,
      freshness: 'strict',
      description: 'Gives a setting the value again that it had at a version; 0 for its default.',
      input: z.strictObject({ key: z.string(), version: z.int().min(0) }),
      output: z.object({ version: z.int() }),
    },
    async ({ input, services, principal }) => {
      const actor = principal.userId
      const version = await services.settings.rollback(input.key, input.version, { actor })
      await recordAudit(services.db, { ...by(principal), type: 'setting.changed' })
      return { version }
    },
  ),
})

function by({ tenantId, userId }: UserPrincipal): { readonly tenantId: string; readonly actorId: string } {
  return { tenantId, actorId: userId }
}
