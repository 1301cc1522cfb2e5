import { describe, expect, it } from 'vitest'
import { procedure, service } from '@quintet/core'
import { z } from 'zod'
import { createClient, httpLink } from '../../src/client.ts'
import { eventIdOf } from '../../src/streams/event-id.ts'
import { serve } from '../support/serve.ts'

describe('the id of an event', () => {
  it.each([7, 'a', 'zażółć', '日本', '🦊', 'é', 'two words', '~'])(
    '%j resumes a stream over HTTP',
    async (id) => {
      const names = service('names', {
        after: procedure(
          { access: 'public', stream: z.object({ id: z.unknown(), after: z.string().nullable() }) },
          async function* ({ lastEventId }) {
            yield { id, after: lastEventId ?? null }
          },
        ),
      })
      await using app = await serve({}, { services: [names] })
      const client = createClient<typeof names>(httpLink({ url: app.url }))
      const lastEventId = eventIdOf({ id }) ?? 'none'
      const seen: unknown[] = []
      for await (const event of client.names.after(undefined, { lastEventId })) seen.push(event)
      expect(seen).toEqual([{ id, after: String(id) }])
    },
  )

  it.each(['', ' a', 'a ', 'a\nb', 'a\rb', 'a\0b', 'a\tb', 'a\u007f', '\ud800', {}, true])(
    '%j is none, because it would not come back as it was',
    (id) => {
      expect(eventIdOf({ id })).toBeUndefined()
    },
  )
})
