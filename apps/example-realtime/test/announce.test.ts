import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { testUser } from '@quintet/core/testing'
import { announcedEvents } from '@quintet/example-platform/events'
import { startApp, tellRemoval, type StartedApp } from '@quintet/example-platform/testing'
import { createRealtimeClient, type RealtimeClient } from '@quintet/realtime/client'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import realtime from '../src/bootstrap.ts'

let app: StartedApp

beforeAll(async () => {
  app = await startApp(realtime, { baseUrl: resolve(import.meta.dirname, '../src') })
})

afterAll(async () => {
  await app[Symbol.asyncDispose]()
})

interface Heard {
  readonly id: string
  readonly topic: string
  readonly data: { readonly name: string }
}

interface Listener extends Disposable {
  readonly userId: string
  readonly client: RealtimeClient
  /** The names that were told, each event once. */
  names(): readonly string[]
  /** Who of the tenant is there. */
  present(): readonly string[]
}

/** A user of a tenant who listens on all channels that are theirs. */
async function listen(
  tenantId: string,
  roles: readonly string[],
  userId: string = randomUUID(),
  onStatus: (status: string) => void = () => undefined,
): Promise<Listener> {
  const { authorization } = await app.identity.signIn({ tenantId, userId, roles })
  const heard = new Map<string, Heard>()
  const client = createRealtimeClient({
    url: app.url('websocket'),
    token: authorization.replace('Bearer ', ''),
    onStatus,
  })
  const response = await fetch(`${app.url()}/rpc/channels/mine`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: '{}',
  })
  const { items } = (await response.json()) as { items: readonly { readonly channel: string }[] }
  const present = new Set<string>()
  for (const { channel } of items)
    await client.subscribe<Heard>(channel, {
      onEvent: (event) => heard.set(event.id, event),
      onSubscribed: (info) => info.present?.forEach((user) => present.add(user)),
      onPresence: (change, user) => (change === 'join' ? present.add(user) : present.delete(user)),
    }).ready
  return {
    userId,
    client,
    names: () => [...heard.values()].map(({ data }) => data.name).toSorted(),
    present: () => [...present].toSorted(),
    [Symbol.dispose]: () => client.close(),
  }
}

const happen = (tenantId: string, ownerId: string, name: string): Promise<unknown> =>
  app.jobs.enqueue(
    announcedEvents,
    {
      id: randomUUID(),
      topic: 'media.thumbnail-made',
      occurredAt: new Date(0).toISOString(),
      data: { objectId: randomUUID(), ownerId, name },
    },
    { principal: testUser({ tenantId, userId: ownerId }) },
  )

describe('an event', () => {
  it('is told to its audience: its user and the owners of the tenant, and no one else', async () => {
    const [tenant, other] = [randomUUID(), randomUUID()]
    using owner = await listen(tenant, ['owner'])
    using member = await listen(tenant, ['member'])
    using colleague = await listen(tenant, ['member'])
    using stranger = await listen(other, ['owner'])
    await happen(tenant, member.userId, 'member')
    await happen(tenant, colleague.userId, 'colleague')
    await happen(other, stranger.userId, 'stranger')
    await until(() => owner.names().length === 2 && member.names().length && stranger.names().length)
    await until(() => colleague.names().length)
    expect([owner, member, colleague, stranger].map((each) => each.names())).toEqual([
      ['colleague', 'member'],
      ['member'],
      ['colleague'],
      ['stranger'],
    ])
  })

  it.each([
    ['of another user', () => `users/${randomUUID()}`],
    ['of a role that one does not have', () => 'roles/owner'],
  ])('is not heard on a channel %s', async (_, channel) => {
    using member = await listen(randomUUID(), ['member'])
    await expect(member.client.subscribe(channel(), { onEvent: () => undefined }).ready).rejects.toThrow()
  })

  it('is heard no more once the session has ended, at once and not with the next look at it', async () => {
    for (let round = 0; round < 3; round++) {
      const tenantId = randomUUID()
      const statuses: [string, number][] = []
      using owner = await listen(tenantId, ['owner'], randomUUID(), (status) =>
        statuses.push([status, performance.now()]),
      )
      await happen(tenantId, randomUUID(), 'before')
      await until(() => owner.names().length === 1)
      await app.identity.auth.authority.revokeAll({ tenantId, userId: owner.userId })
      const revoked = performance.now()
      await until(() => statuses.at(-1)?.[0] !== 'open')
      // Some milliseconds by themselves; far from the 5 s after which it is looked at again.
      expect((statuses.at(-1)?.[1] ?? Infinity) - revoked).toBeLessThan(1_500)
      await happen(tenantId, randomUUID(), 'after')
      await until(async () => (await app.jobs.counts(announcedEvents)).completed >= 2)
      expect(owner.names()).toEqual(['before'])
    }
  })

  it('is erased from the histories when its user is removed', async () => {
    const [tenantId, userId, counterparty, bystander] = Array.from({ length: 4 }, () => randomUUID()) as [
      ...[string, string, string, string],
    ]
    await happen(tenantId, userId, 'gone')
    await happen(tenantId, bystander, 'of another')
    const parties = { payer: userId, payee: counterparty }
    const [transferId, from, to] = [randomUUID(), randomUUID(), randomUUID()]
    await app.jobs.enqueue(
      announcedEvents,
      {
        id: randomUUID(),
        topic: 'ledger.transferred',
        occurredAt: new Date(0).toISOString(),
        data: { transferId, from, to, amount: '1.00', currency: 'EUR', ...parties },
      },
      { principal: testUser({ tenantId, userId }) },
    )
    const redis = app.redis.client('cache')
    const kept = async (): Promise<readonly string[]> => {
      const keys = await redis.keys(`*rt:e:*${tenantId}*`)
      return keys.map((key) => key.slice(key.lastIndexOf(':') + 1, -1)).toSorted()
    }
    const ofUsers = [userId, bystander, counterparty].map((id) => `users/${id}`)
    await until(async () => (await kept()).length === 4)
    expect(await kept()).toEqual([...ofUsers, 'roles/owner'].toSorted())
    await tellRemoval(app.jobs, 'realtime', { tenantId, userId })
    await until(async () => (await kept()).length === 1)
    expect(await kept()).toEqual([`users/${bystander}`])
    await tellRemoval(app.jobs, 'realtime', { tenantId })
    await until(async () => (await kept()).length === 0)
    expect(await app.jobs.erase(announcedEvents, { tenantId })).toEqual({ erased: 0, pending: 0 })
  })
})

it('shows who of a tenant is there, and no one of another', async () => {
  const [tenant, other] = [randomUUID(), randomUUID()]
  using owner = await listen(tenant, ['owner'])
  using stranger = await listen(other, ['owner'])
  expect(owner.present()).toEqual([owner.userId])
  const member = await listen(tenant, ['member'])
  expect(member.present()).toEqual([owner.userId, member.userId].toSorted())
  await until(() => owner.present().includes(member.userId))
  member.client.close()
  await until(() => owner.present().length === 1)
  expect([owner.present(), stranger.present()]).toEqual([[owner.userId], [stranger.userId]])
})

it('lets no one in without a token', async () => {
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
