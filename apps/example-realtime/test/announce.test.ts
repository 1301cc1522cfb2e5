import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { testUser } from '@quintet/core/testing'
import { announcedEvents } from '@quintet/example-platform/events'
import { startApp, type StartedApp } from '@quintet/example-platform/testing'
import { createRealtimeClient, type RealtimeClient } from '@quintet/realtime/client'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import realtime from '../src/bootstrap.ts'

let app: StartedApp

beforeAll(async () => {
  app = await startApp(realtime, { baseUrl: resolve(import.meta.dirname, '../src') })
})

afterAll(async () => {
  await app[Symbol.asyncDispose]()
})

interface Heard {
  readonly topic: string
  readonly data: unknown
}

interface Listener extends Disposable {
  readonly heard: readonly Heard[]
}

/** A member of a tenant who listens on its channel. */
async function listen(tenantId: string): Promise<Listener> {
  const { authorization } = await app.identity.signIn({ tenantId, userId: randomUUID() })
  const heard: Heard[] = []
  const client: RealtimeClient = createRealtimeClient({
    url: app.url('websocket'),
    token: authorization.replace('Bearer ', ''),
  })
  await client.subscribe<Heard>('events', { onEvent: (event) => heard.push(event) }).ready
  return { heard, [Symbol.dispose]: () => client.close() }
}

const happen = (tenantId: string, name: string): Promise<unknown> =>
  app.jobs.enqueue(
    announcedEvents,
    {
      id: randomUUID(),
      topic: 'media.thumbnail-made',
      occurredAt: new Date(0).toISOString(),
      data: { objectId: randomUUID(), name },
    },
    { principal: testUser({ tenantId }) },
  )

it('tells each member of a tenant what happened there, and no other tenant', async () => {
  const [tenant, other] = [randomUUID(), randomUUID()]
  using first = await listen(tenant)
  using second = await listen(tenant)
  using stranger = await listen(other)
  await happen(tenant, 'a')
  await happen(other, 'b')
  const named = (name: string): object => ({ topic: 'media.thumbnail-made', data: { name } })
  await until(() => stranger.heard.length && first.heard.length && second.heard.length)
  expect([first.heard, second.heard, stranger.heard]).toMatchObject([
    [named('a')],
    [named('a')],
    [named('b')],
  ])
})

it('lets nobody in without a token', async () => {
  const response = await fetch(`${app.url()}/rpc/channels/mine`, { method: 'POST', body: '{}' })
  expect(response.status).toBe(401)
  const status = await new Promise((resolve) => {
    const client = createRealtimeClient({
      url: app.url('websocket'),
      onStatus: (status) => {
        if (status === 'connecting') return
        resolve(status)
        client.close()
      },
    })
  })
  expect(status).toBe('waiting')
})
