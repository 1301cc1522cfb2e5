import { once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import * as fc from 'fast-check'
import { Redis } from 'ioredis'
import { redisUrl, startPrivateRedis, until } from '@quintet/test-kit'
import { afterAll, describe, expect, it } from 'vitest'
import { createLocks, createRedisClients } from '../../src/index.ts'
import type { LocksOptions } from '../../src/index.ts'
import { collectingLogger } from '../support/logger.ts'
import { plainClient, uniquePrefix } from '../support/servers.ts'

/** A client of one's own: nothing bounds its commands. */
class RedisClient extends Redis {
  async [Symbol.asyncDispose](): Promise<void> {
    this.disconnect()
  }
}

const client = plainClient()
afterAll(() => void client.disconnect())

function open(options: Partial<LocksOptions> = {}) {
  const prefix = uniquePrefix()
  return { prefix, locks: createLocks({ client, prefix, retryInterval: 5, ...options }) }
}

describe('createLocks', () => {
  it('lets one in at a time, and gives every holder a greater token', async () => {
    const { locks } = open()
    let inside = 0
    let most = 0
    const tokens: number[] = []
    await Promise.all(
      Array.from({ length: 20 }, () =>
        locks.run('job', async ({ fencingToken }) => {
          inside += 1
          most = Math.max(most, inside)
          tokens.push(fencingToken)
          await nextTurn()
          inside -= 1
        }),
      ),
    )
    expect(most).toBe(1)
    expect(tokens).toHaveLength(20)
    expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b))
  })

  it('bounds its commands also over a client that waits for ever', async () => {
    await using server = await startPrivateRedis()
    await using own = new RedisClient(server.url)
    const logged: string[] = []
    const { locks } = open({ client: own, logger: collectingLogger(logged) })
    const held = await locks.acquire('held', { ttl: '1h' })
    const shortLived = await locks.acquire('short', { ttl: '2s' })
    server.freeze()
    try {
      const releasing = shortLived.release()
      const controller = new AbortController()
      const aborted = locks.acquire('job', { signal: controller.signal })
      controller.abort(new Error('not needed any more'))
      await expect(aborted).rejects.toThrow('not needed any more')
      await expect(locks.acquire('job', { wait: 0 })).rejects.toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
      await expect(locks.tryAcquire('job', { ttl: 50 })).rejects.toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
      })
      await releasing
      expect(logged.join()).toMatch(/could not be released.*did not answer/)
    } finally {
      server.thaw()
    }
    // What was sent while it was frozen has left no lock behind.
    await until(async () => (await own.keys('*{job}')).length === 0)
    expect(await held.release()).toBe(true)
  })

  it('works with a client that gives numbers as texts', async () => {
    await using own = new RedisClient(redisUrl(), { db: 5, stringNumbers: true })
    const { locks } = open({ client: own })
    const lock = await locks.acquire('job', { ttl: 300 })
    const begin = performance.now()
    await until(() => performance.now() - begin > 600)
    expect(lock.signal.aborted).toBe(false)
    expect(await lock.release()).toBe(true)
    expect(await locks.run('job', async () => 'done')).toBe('done')
  })

  it('refuses a lock without a name', async () => {
    const { locks } = open()
    for (const name of ['', undefined as unknown as string])
      await expect(locks.tryAcquire(name)).rejects.toThrow(/is no key/)
  })

  it('says at once that somebody holds it, or after the wait', async () => {
    const { locks } = open()
    await using first = await locks.acquire('job')
    expect(await locks.tryAcquire('job')).toBeUndefined()
    await using other = await locks.acquire('other job')
    expect(other.name).toBe('other job')
    const begin = performance.now()
    await expect(locks.acquire('job', { wait: 50 })).rejects.toMatchObject({
      code: 'ERR_REDIS_LOCK_HELD',
      kind: 'conflict',
    })
    expect(performance.now() - begin).toBeGreaterThanOrEqual(45)
    const controller = new AbortController()
    const waiting = locks.acquire('job', { signal: controller.signal })
    controller.abort(new Error('not needed any more'))
    await expect(waiting).rejects.toThrow('not needed any more')
    expect(await first.release()).toBe(true)
    expect(await first.release()).toBe(true)
    await using next = await locks.acquire('job')
    expect(next.fencingToken).toBeGreaterThan(first.fencingToken)
  })

  it('keeps a lock alive for longer than its time to live', async () => {
    const { locks, prefix } = open({ ttl: 900 })
    await using lock = await locks.acquire('job')
    const begin = performance.now()
    await until(() => performance.now() - begin > 1_200)
    expect(lock.signal.aborted).toBe(false)
    expect(await client.pttl(`${prefix}{job}`)).toBeGreaterThan(0)
    await using longer = await locks.acquire('other', { ttl: '1m' })
    expect(longer.signal.aborted).toBe(false)
    expect(await client.pttl(`${prefix}{other}`)).toBeGreaterThan(50_000)
  })

  it('aborts its signal when somebody else has it, and leaves theirs alone', async () => {
    const { locks, prefix } = open({ ttl: 300 })
    const lock = await locks.acquire('job')
    await client.set(`${prefix}{job}`, 'somebody else', 'PX', 60_000)
    await until(() => lock.signal.aborted)
    expect(lock.signal.reason).toMatchObject({ code: 'ERR_REDIS_LOCK_LOST', kind: 'conflict' })
    expect(await lock.release()).toBe(false)
    expect(await client.get(`${prefix}{job}`)).toBe('somebody else')
  })

  it('does not give out the result of work whose lock was lost, nor hide why work failed', async () => {
    const { locks, prefix } = open({ ttl: '1m' })
    const run = locks.run('job', async () => {
      await client.set(`${prefix}{job}`, 'somebody else', 'PX', 50)
      return 'a result'
    })
    await expect(run).rejects.toMatchObject({ code: 'ERR_REDIS_LOCK_LOST' })
    await expect(locks.run('job', () => Promise.reject(new Error('the work failed')))).rejects.toThrow(
      'the work failed',
    )
    expect(await locks.run('job', async () => 'fine')).toBe('fine')
  })

  it('aborts before the lock can have ended when the server is frozen', async () => {
    await using server = await startPrivateRedis()
    await using clients = await createRedisClients({
      url: server.url,
      clients: { locks: { commandTimeout: 50 } },
    })
    const logged: string[] = []
    const logger = collectingLogger(logged)
    const { locks } = open({ client: clients.client('locks'), ttl: 1_000, logger })
    const lock = await locks.acquire('job')
    server.freeze()
    const begin = performance.now()
    await once(lock.signal, 'abort')
    expect(performance.now() - begin).toBeLessThan(2_000)
    await expect(locks.tryAcquire('job')).rejects.toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' })
    expect(await lock.release()).toBe(false)
    expect(logged.join()).toMatch(/a lock could not be renewed.*"lock":"job"/)
    server.thaw()
    await using next = await until(() => locks.tryAcquire('job'))
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken)
  })

  it('lets go of a lock that the server cannot delete now, and says so in the log', async () => {
    await using server = await startPrivateRedis()
    await using own = plainClient(server.url, 0)
    const logged: string[] = []
    const { locks } = open({ client: own, ttl: '1m', logger: collectingLogger(logged) })
    const lock = await locks.acquire('job')
    await server.kill()
    expect(await lock.release()).toBe(true)
    expect(logged.join()).toMatch(/could not be released and will expire.*"lock":"job"/)
  })

  it('counts time by its clock: an answer that took longer than the lock lives brings a lock that is lost', async () => {
    let time = 0
    const clock = { now: () => time, monotonic: () => (time += 1_000) }
    const { locks } = open({ clock, ttl: 900 })
    await using lock = await locks.acquire('job')
    expect(lock.signal.reason).toMatchObject({ code: 'ERR_REDIS_LOCK_LOST' })
    expect(await lock.release()).toBe(false)
    // The wait is over after the second look at the clock, and not after an hour.
    await expect(locks.acquire('job', { wait: 1_000 })).rejects.toMatchObject({
      code: 'ERR_REDIS_LOCK_HELD',
      retryAfter: 900,
    })
  })

  it('gives greater tokens also after the server came back empty', async () => {
    await using server = await startPrivateRedis()
    await using clients = await createRedisClients({
      url: server.url,
      clients: { locks: {} },
      reconnect: { min: 5, max: 20 },
    })
    const { locks } = open({ client: clients.client('locks') })
    const before = await locks.acquire('job')
    await before.release()
    await server.restart()
    await until(() => clients.client('locks').ping())
    await using after = await locks.acquire('job')
    expect(after.fencingToken).toBeGreaterThan(before.fencingToken)
  })

  it('tells names with braces apart, and refuses what makes no sense', async () => {
    const { locks, prefix } = open()
    await using a = await locks.acquire('a}b')
    await using b = await locks.acquire('a%7Db')
    expect(a.name).not.toBe(b.name)
    expect(await client.keys(`${prefix}*`)).toHaveLength(4)
    await expect(locks.tryAcquire('')).rejects.toThrow(/is no key/)
    await expect(locks.tryAcquire('x', { ttl: 10 })).rejects.toThrow(/Give 50 ms or more/)
    // @ts-expect-error an unknown option
    await expect(locks.acquire('x', { timeout: 10 })).rejects.toThrow(/unknown key "timeout"/)
    // @ts-expect-error one attempt does not wait
    await expect(locks.tryAcquire('x', { wait: 10 })).rejects.toThrow(/tryAcquire: unknown key "wait"/)
    // @ts-expect-error an unknown option
    expect(() => createLocks({ client, lease: 10 })).toThrow(/unknown key "lease"/)
  })
})

describe('a store that checks fencing tokens', () => {
  it('ends with what the last holder wrote, whoever is paused or robbed of the lock', async () => {
    const holders = fc.array(fc.record({ robbed: fc.boolean(), late: fc.boolean() }), {
      minLength: 1,
      maxLength: 6,
    })
    await fc.assert(
      fc.asyncProperty(holders, async (plan) => {
        const { locks, prefix } = open({ ttl: '1m' })
        const store = { value: -1, token: 0 }
        const write = (value: number, token: number): void => {
          if (token >= store.token) Object.assign(store, { value, token })
        }
        const lateWrites: (() => void)[] = []
        for (const [index, { robbed, late }] of plan.entries()) {
          const lock = await locks.acquire('job')
          if (late) lateWrites.push(() => write(index, lock.fencingToken))
          else write(index, lock.fencingToken)
          // As if it had been paused for longer than its time to live.
          if (robbed) await client.del(`${prefix}{job}`)
          expect(await lock.release()).toBe(!robbed)
        }
        for (const writeLate of lateWrites.toReversed()) writeLate()
        const last = plan.findLastIndex(
          (holder, index) => !holder.late || index === plan.length - 1 || holder.late,
        )
        expect(store.value).toBe(last)
      }),
      { numRuns: 40 },
    )
  })

  it('does not report success when the event loop stood still for longer than the lock lived', async () => {
    await using server = await startPrivateRedis()
    await using clients = await createRedisClients({ url: server.url, clients: { locks: {} } })
    const locks = createLocks({ client: clients.client('locks'), ttl: 100 })
    const run = locks.run('job', async () => {
      await server.kill()
      const end = performance.now() + 150
      while (performance.now() < end);
      return 'done'
    })
    await expect(run).rejects.toMatchObject({ code: 'ERR_REDIS_LOCK_LOST' })
  })
})
