import { service, withServices } from '@quintet/core'
import { z } from 'zod'
import { totals } from './counts.ts'
import type { AnalyticsServices } from './services.ts'

const { procedure } = withServices<AnalyticsServices>()

export const stats = service('stats', {
  counts: procedure(
    {
      access: 'authenticated',
      description: "How many events of each topic the caller's tenant has.",
      input: z.strictObject({}),
      output: z.object({ items: z.array(z.object({ topic: z.string(), count: z.int() })) }),
    },
    async ({ services }) => ({ items: [...(await totals(services.db))] }),
  ),
})
