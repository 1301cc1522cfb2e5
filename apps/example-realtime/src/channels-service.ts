import { service, withServices } from '@quintet/core'
import { z } from 'zod'
import type { RealtimeServices } from './services.ts'

const { procedure } = withServices<RealtimeServices>()

export const channels = service('channels', {
  mine: procedure(
    {
      access: 'authenticated',
      description: 'The channels that the caller may subscribe to over the WebSocket.',
      input: z.strictObject({}),
      output: z.object({ items: z.array(z.object({ channel: z.string(), description: z.string() })) }),
    },
    async () => ({
      items: [{ channel: 'events', description: "What happens in the caller's tenant: media, ledger." }],
    }),
  ),
})
