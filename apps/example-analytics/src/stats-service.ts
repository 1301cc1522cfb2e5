import { anyOf, hasPermission } from '@quintet/auth'
import { service, withServices } from '@quintet/core'
import type { Scope } from '@quintet/example-platform/scopes'
import { z } from 'zod'
import { countsOf } from './counts.ts'
import type { AnalyticsServices } from './services.ts'

const { procedure } = withServices<AnalyticsServices>()

/** In UTC. */
const Day = z.iso.date()

export const stats = service('stats', {
  counts: procedure(
    {
      access: anyOf('authenticated', hasPermission('stats:read' satisfies Scope)),
      description:
        "How many events of each topic the caller's tenant has: over all days or those of a range, in all or by day or month.",
      input: z
        .strictObject({ from: Day.optional(), to: Day.optional(), by: z.enum(['day', 'month']).optional() })
        .refine(({ from, to }) => from === undefined || to === undefined || from <= to, {
          path: ['to'],
          message: 'must not be before "from"',
        }),
      output: z.object({
        items: z.array(z.object({ topic: z.string(), count: z.int(), period: z.string().optional() })),
      }),
    },
    async ({ input: { by, ...range }, services }) => ({
      items: [...(await countsOf(services.db, range, by))],
    }),
  ),
})
