import { AsyncLocalStorage } from 'node:async_hooks'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { afterAll, describe, expect, it } from 'vitest'
import { createPubSub, createRedisClients } from '../../src/index.ts'
import type { PubSubMessage, PubSubOptions } from '../../src/index.ts'
import { collectingLogger } from '../support/logger.ts'
import { startProxy } from '../support/proxy.ts'
import { plainClient, uniquePrefix } from '../support/servers.ts'

const client = plainClient()
afterAll(() => void client.disconnect())

function open(options: Partial<PubSubOptions> = {}) {
  return createPubSub({ client, ...options })
}

describe('createPubSub', () => {
  it('delivers to every instance in order, and tells own messages from others', async () => {
    const prefix = uniquePrefix()
    await using here = open({ prefix })
    await using there = open({ prefix, instanceId: 'there' })
    expect(here.instanceId).not.toBe(there.instanceId)
    const heardHere: PubSubMessage[] = []
    const heardThere: PubSubMessage[] = []
    await here.subscribe('news', (message) => void heardHere.push(message))
    await there.subscribe('news', (message) => void heardThere.push(message))
    expect(await there.publish('news', { n: 1 })).toBe(2)
    expect(await there.publish('news', [2])).toBe(2)
    await until(() => heardHere.length === 2 && heardThere.length === 2)
    expect(heardHere[0]).toEqual({ channel: 'news', data: { n: 1 }, from: 'there', own: false })
    expect(heardHere[1]?.data).toEqual([2])
    expect(heardThere.map(({ own }) => own)).toEqual([true, true])
  })

  it('keeps channels apart by prefix, and several handlers of one channel independent', async () => {
    const prefix = uniquePrefix()
    await using one = open({ prefix })
    await using other = open({ prefix: `${prefix}other:` })
    const heard: string[] = []
    await other.subscribe('news', () => void heard.push('other'))
    const first = await one.subscribe('news', () => void heard.push('first'))
    await one.subscribe('news', () => void heard.push('second'))
    await one.publish('news', 1)
    await until(() => heard.length === 2)
    await Promise.all([first.unsubscribe(), first.unsubscribe()])
    await one.publish('news', 2)
    await until(() => heard.length === 3)
    expect(heard).toEqual(['first', 'second', 'second'])
  })

  it('drops what is not ours or does not parse, and survives handlers that fail', async () => {
    const prefix = uniquePrefix()
    const logged: string[] = []
    await using pubsub = open({ prefix, logger: collectingLogger(logged) })
    const heard: number[] = []
    await pubsub.subscribe<number>(
      'news',
      async ({ data }) => {
        heard.push(data)
        if (data === 1) throw new Error('the handler failed')
      },
      {
        parse(data) {
          if (typeof data !== 'number') throw new TypeError('not a number')
          return data
        },
      },
    )
    await client.publish(`${prefix}news`, 'not json')
    await client.publish(`${prefix}news`, 'null')
    await pubsub.publish('news', 'text')
    await pubsub.publish('news', 1)
    await pubsub.publish('news', 2)
    await until(() => heard.length === 2)
    expect(heard).toEqual([1, 2])
    await until(() => logged.length === 4)
    expect(logged.join()).toMatch(/not ours.*not ours.*not a number.*handler failed/)
  })

  it('subscribes again after a lost connection, and says that there was a gap', async () => {
    await using server = await startPrivateRedis()
    await using clients = await createRedisClients({
      url: server.url,
      clients: { a: {} },
      reconnect: { min: 5, max: 20 },
    })
    await using pubsub = createPubSub({ client: clients.client('a') })
    const heard: unknown[] = []
    let gaps = 0
    await pubsub.subscribe('news', ({ data }) => void heard.push(data), { onGap: () => void (gaps += 1) })
    await pubsub.publish('news', 'before')
    await until(() => heard.length === 1)
    await server.restart()
    await until(() => gaps === 1)
    await until(() => pubsub.publish('news', 'after'))
    await until(() => heard.length === 2)
    expect(heard).toEqual(['before', 'after'])
    expect(gaps).toBe(1)
  })

  it('confirms no further handler of a channel whose subscription is interrupted', async () => {
    await using server = await startPrivateRedis()
    await using own = plainClient(server.url, 0)
    await using pubsub = createPubSub({ client: own, pingInterval: 300 })
    const heard: string[] = []
    let gaps = 0
    await pubsub.subscribe('news', () => void heard.push('first'), { onGap: () => void (gaps += 1) })
    await server.kill()
    await until(() => own.status !== 'ready')
    const refused = await until(() =>
      pubsub
        .subscribe('news', () => void heard.push('refused'))
        .then((subscription) => subscription.unsubscribe())
        .then(
          () => undefined,
          (error: unknown) => error,
        ),
    )
    expect(refused).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
    await server.restart()
    await until(() => gaps === 1)
    await pubsub.subscribe('news', () => void heard.push('second'))
    expect(await until(() => own.publish('news', JSON.stringify({ from: 'x', data: 1 })))).toBe(1)
    await until(() => heard.length === 2)
    expect(heard).toEqual(['first', 'second'])
  })

  it('notices a server that went silent by its ping', async () => {
    await using server = await startPrivateRedis()
    await using own = plainClient(server.url, 0)
    await using pubsub = createPubSub({ client: own, pingInterval: 300 })
    const { promise: gap, resolve } = Promise.withResolvers<void>()
    await pubsub.subscribe('news', () => undefined, { onGap: resolve })
    server.freeze()
    await until(async () => {
      await expect(pubsub.subscribe('other', () => undefined)).rejects.toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
      })
      return true
    })
    server.thaw()
    await gap
    await until(() => pubsub.subscribe('other', () => undefined))
    expect(await until(() => own.publish('other', '{}'))).toBe(1)
  })

  it('refuses a subscription that the server does not confirm in time or not at all', async () => {
    await using away = plainClient('redis://127.0.0.1:1', 0)
    await using pubsub = createPubSub({ client: away, pingInterval: 50 })
    await expect(pubsub.subscribe('news', () => undefined)).rejects.toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
    })
    await using server = await startPrivateRedis()
    await using admin = plainClient(server.url, 0)
    await admin.acl('SETUSER', 'narrow', 'on', '>pw', '~*', 'resetchannels', '+@all')
    await using narrow = plainClient(`redis://narrow:pw@127.0.0.1:${server.port}`, 0)
    const logged: string[] = []
    await using denied = createPubSub({ client: narrow, logger: collectingLogger(logged) })
    await expect(denied.subscribe('news', () => undefined)).rejects.toMatchObject({
      code: 'ERR_REDIS_REFUSED',
    })
    expect(logged.join()).toMatch(/refused a subscription.*news.*NOPERM/)
  })

  it('comes back after a password was rotated, and warns once while it is refused', async () => {
    await using server = await startPrivateRedis()
    await using operator = plainClient(server.url, 0)
    await operator.call('ACL', 'SETUSER', 'app', 'on', '>first', '~*', '&*', '+@all')
    const current = { password: 'first' }
    await using clients = await createRedisClients({
      url: server.url,
      username: 'app',
      password: { reveal: () => current.password },
      clients: { a: {} },
      reconnect: { min: 10, max: 50 },
    })
    const logged: string[] = []
    await using pubsub = createPubSub({ client: clients.client('a'), logger: collectingLogger(logged) })
    const heard: unknown[] = []
    let gaps = 0
    await pubsub.subscribe('news', ({ data }) => void heard.push(data), { onGap: () => void (gaps += 1) })
    await operator.call('ACL', 'SETUSER', 'app', 'resetpass', '>second')
    await operator.client('KILL', 'USER', 'app')
    await until(() => logged.some((line) => line.includes('refuses the subscriber connection')))
    current.password = 'second'
    await until(() => gaps === 1)
    await until(() => pubsub.publish('news', 'after'))
    await until(() => heard.length === 1)
    expect(logged.filter((line) => line.includes('WRONGPASS'))).toHaveLength(1)
    expect(logged.join()).not.toMatch(/first|second/)
  })

  it('runs handlers, parse and onGap in the async context of their own subscribe', async () => {
    await using server = await startPrivateRedis()
    await using own = plainClient(server.url, 0)
    await using pubsub = createPubSub({ client: own })
    const tenant = new AsyncLocalStorage<string>()
    const seen: string[] = []
    const note = (what: string): void => void seen.push(`${what} in ${tenant.getStore() ?? 'none'}`)
    const subscribe = (name: string) => () =>
      pubsub.subscribe('news', () => note(name), {
        parse: () => note(`${name} parses`),
        onGap: () => note(`${name} gap`),
      })
    await tenant.run('one', subscribe('first'))
    await tenant.run('two', subscribe('second'))
    await subscribe('third')()
    await pubsub.publish('news', 1)
    await until(() => seen.length === 6)
    await own.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => seen.length === 9)
    expect(seen).toEqual([
      ...['first parses in one', 'first in one', 'second parses in two', 'second in two'],
      ...['third parses in none', 'third in none'],
      ...['first gap in one', 'second gap in two', 'third gap in none'],
    ])
  })

  it('tells the gap also when the server is late to subscribe again', async () => {
    await using server = await startPrivateRedis()
    await using proxy = await startProxy(server.url)
    await using own = plainClient(server.url, 0)
    await using through = plainClient(proxy.url, 0)
    await using pubsub = createPubSub({ client: through, pingInterval: 500 })
    let gaps = 0
    await pubsub.subscribe('news', () => undefined, { onGap: () => void (gaps += 1) })
    proxy.hold('subscribe', 600)
    proxy.cut()
    await until(() => gaps > 0)
    await until(() => pubsub.subscribe('news', () => undefined))
    expect(await own.publish('news', '{}')).toBe(1)
  })

  it('asks again for a channel that was refused, and has no other one refused with it', async () => {
    await using server = await startPrivateRedis()
    await using admin = plainClient(server.url, 0)
    await admin.acl('SETUSER', 'app', 'on', '>pw', '~*', '&*', '+@all')
    await using own = plainClient(`redis://app:pw@127.0.0.1:${server.port}`, 0)
    const logged: string[] = []
    await using pubsub = createPubSub({
      client: own,
      pingInterval: 200,
      logger: collectingLogger(logged),
    })
    const gaps: string[] = []
    for (const channel of ['one', 'two', 'three'])
      await pubsub.subscribe(channel, () => undefined, { onGap: () => void gaps.push(channel) })
    // Redis ends the connections of a user that is subscribed to what is not permitted any more.
    await admin.acl('SETUSER', 'app', 'resetchannels', '&one', '&three')
    await until(() => gaps.length === 2)
    expect(gaps.toSorted()).toEqual(['one', 'three'])
    await until(() => logged.some((line) => line.includes('refused a subscription')))
    await expect(pubsub.subscribe('two', () => undefined)).rejects.toMatchObject({
      code: 'ERR_REDIS_REFUSED',
    })
    await admin.acl('SETUSER', 'app', '&two')
    await until(() => gaps.includes('two'))
    expect(logged.filter((line) => line.includes('refused a subscription'))).toHaveLength(1)
  })

  it('logs an onGap that rejects, and drops what a parse that gives a promise lets pass', async () => {
    await using server = await startPrivateRedis()
    await using admin = plainClient(server.url, 0)
    const logged: string[] = []
    await using pubsub = createPubSub({ client: admin, logger: collectingLogger(logged) })
    const heard: unknown[] = []
    await pubsub.subscribe('news', ({ data }) => void heard.push(data), {
      parse: () => Promise.reject(new Error('no news')),
      onGap: () => Promise.reject(new Error('the database is away too')),
    })
    await pubsub.publish('news', 'unchecked')
    await until(() => logged.some((line) => line.includes('parse gave a promise')))
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => logged.some((line) => line.includes('the database is away too')))
    expect(heard).toEqual([])
  })

  it('refuses a channel without a name', async () => {
    await using pubsub = open()
    for (const channel of ['', undefined as unknown as string]) {
      await expect(pubsub.publish(channel, 1)).rejects.toThrow(/publish: .* is no key/)
      await expect(pubsub.subscribe(channel, () => undefined)).rejects.toThrow(/subscribe: .* is no key/)
    }
  })

  it('closes twice at once, and refuses what comes after', async () => {
    const pubsub = open({ prefix: uniquePrefix() })
    await pubsub.subscribe('news', () => undefined)
    await Promise.all([pubsub.close(), pubsub.close()])
    await expect(pubsub.publish('news', 1)).rejects.toMatchObject({ code: 'ERR_REDIS_CLOSED' })
    await expect(pubsub.subscribe('news', () => undefined)).rejects.toMatchObject({
      code: 'ERR_REDIS_CLOSED',
    })
    // @ts-expect-error an unknown option
    expect(() => createPubSub({ client, channel: 'x' })).toThrow(/unknown key "channel"/)
    const cluster = {
      isCluster: true,
      options: {},
      publish: Object,
      duplicate: Object,
    } as unknown as typeof client
    expect(() => createPubSub({ client: cluster })).toThrow(/give a client of one node/)
  })
})
