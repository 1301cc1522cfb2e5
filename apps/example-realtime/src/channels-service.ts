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
    async ({ principal }) => ({
      items: [
        { channel: 'events', description: "What all users of the caller's tenant hear." },
        { channel: `users/${principal.userId}`, description: 'What the caller alone hears.' },
        ...principal.roles.map((role) => ({
          channel: `roles/${role}`,
          description: `What users with the role ${role} hear.`,
        })),
      ],
    }),
  ),
})
