import { QuintetError } from '@quintet/core'
import { testUser } from '@quintet/core/testing'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createQueue, defineJob, schedule, worker } from '../../src/index.ts'
import { createRig, secret, type Rig } from '../jobs/rig.ts'
import { createSilentProxy } from '../silent-proxy.ts'

const job = defineJob('echo', { payload: z.string(), backoff: { min: 10, max: 20 } })
const ofTenant = (tenantId: string) => testUser({ tenantId })
const alice = ofTenant('tenant-a')

let rig: Rig
beforeEach(() => {
  rig = createRig()
})
afterEach(async () => {
  await rig[Symbol.asyncDispose]()
})

describe('a handler that ignores the end of its time', () => {
  it('keeps its place until it has ended, and health tells when every place is taken so', async () => {
    const slow = defineJob('slow', { payload: z.string(), timeout: 30, attempts: 2, backoff: 1 })
    const gate = Promise.withResolvers<void>()
    let running = 0
    let most = 0
    let started = 0
    const host = rig.host()
    await rig.start(
      worker(slow, { queue: rig.queue, concurrency: 2 }, async () => {
        started++
        most = Math.max(most, ++running)
        await gate.promise
        running--
      }),
      host,
    )
    for (let n = 0; n < 6; n++) await rig.queue.enqueue(slow, `${n}`, { principal: alice })
    await until(async () => (await host.health.report()).checks['queue:slow']?.status === 'warn')
    expect(started).toBe(2)
    gate.resolve()
    await until(
      async () => (await rig.queue.counts(slow)).dead + (await rig.queue.counts(slow)).completed === 6,
    )
    expect(most).toBe(2)
  })
})

describe('what a dead letter tells', () => {
  it('is the failure, and not that the envelope expired between the attempts', async () => {
    const brief = defineJob('brief', { payload: z.string(), maxAge: '600ms', backoff: '10s', attempts: 5 })
    await rig.start(
      worker(brief, { queue: rig.queue }, () => Promise.reject(new Error('the card was declined'))),
    )
    await rig.queue.enqueue(brief, 'x', { principal: alice })
    await until(async () => (await rig.queue.counts(brief)).dead === 1)
    expect((await rig.queue.deadLetters(brief))[0]?.reason).toBe('ERR_CORE_INTERNAL: the card was declined')
  })

  it('is cut to a thousand characters, however long the text of the error is', async () => {
    const once = defineJob('once', { payload: z.string(), attempts: 1 })
    await rig.start(
      worker(once, { queue: rig.queue }, () => Promise.reject(new Error('x'.repeat(2_000_000)))),
    )
    await rig.queue.enqueue(once, 'x', { principal: alice })
    await until(async () => (await rig.queue.counts(once)).dead === 1)
    const [letter] = await rig.queue.deadLetters(once)
    expect(letter?.reason).toHaveLength('ERR_CORE_INTERNAL: '.length + 1_000)
    expect(await rig.redis.hstrlen(rig.queue.bull(once).toKey(letter?.id ?? ''), 'stacktrace')).toBeLessThan(
      5_000,
    )
  })

  it('is the code of a lost lock when the workers of all attempts fell silent', async () => {
    const once = defineJob('once', { payload: z.string(), attempts: 1 })
    await rig.start(
      worker(once, { queue: rig.queue, lockDuration: '1s' }, async ({ signal, jobId }) => {
        await rig.redis.del(`${rig.queue.bull(once).toKey(jobId)}:lock`)
        await until(() => signal.aborted)
      }),
    )
    await rig.queue.enqueue(once, 'x', { principal: alice })
    await until(async () => (await rig.queue.counts(once)).dead === 1, 20_000)
    expect((await rig.queue.deadLetters(once))[0]?.reason).toMatch(/^ERR_QUEUE_LOCK_LOST: /)
  })

  it('does not wait for ever where an error asks for that', async () => {
    await rig.start(
      worker(job, { queue: rig.queue }, () => {
        throw new QuintetError('later', { code: 'ERR_TEST', kind: 'rate-limited', retryAfter: Infinity })
      }),
    )
    const { id } = await rig.queue.enqueue(job, 'x', { principal: alice })
    await until(async () => (await rig.queue.counts(job)).delayed === 1)
    expect((await rig.queue.bull(job).getJob(id))?.delay).toBeLessThanOrEqual(86_400_000)
  })
})

describe('a Redis that answers nothing', () => {
  it('makes enqueue say that the queue is unavailable, whatever the client is like', async () => {
    await using server = await startPrivateRedis()
    const redis = new Redis(server.url)
    redis.on('error', () => undefined)
    const queue = createQueue({ connection: redis, secret, commandTimeout: '200ms' })
    const add = () => queue.enqueue(job, 'x', { principal: alice })
    await add()
    server.freeze()
    await expect(add()).rejects.toMatchObject({ code: 'ERR_QUEUE_UNAVAILABLE', kind: 'unavailable' })
    server.thaw()
    await until(() => add().then(() => true))
    await server.kill()
    await expect(add()).rejects.toMatchObject({ code: 'ERR_QUEUE_UNAVAILABLE' })
    await queue.close()
    redis.disconnect()
  })

  it.each(['frozen', 'killed'])('does not keep a worker from closing: %s', async (how) => {
    await using server = await startPrivateRedis()
    await using own = createRig(server.url)
    const running = await own.start(worker(job, { queue: own.queue }, () => undefined))
    await own.queue.counts(job)
    if (how === 'frozen') server.freeze()
    else await server.kill()
    const before = performance.now()
    await running.drain('shutdown', AbortSignal.timeout(500))
    await running.close()
    expect(performance.now() - before).toBeLessThan(3_000)
    if (how === 'frozen') server.thaw()
  })

  it('stops neither worker nor schedule when open connections go silent and new ones work', async () => {
    await using server = await startPrivateRedis()
    await using proxy = await createSilentProxy(server.url)
    await using own = createRig(proxy.url)
    const queue = createQueue({ connection: own.redis, secret, prefix: 'silent', commandTimeout: '300ms' })
    const sweep = defineJob('sweep', { payload: z.object({}), access: 'system' })
    const host = own.host()
    let ticks = 0
    const seen: string[] = []
    await own.start(schedule(sweep, { queue, every: '200ms', payload: {} }), host)
    await own.start(
      worker(sweep, { queue }, () => void ticks++),
      host,
    )
    await own.start(
      worker(job, { queue }, ({ payload }) => void seen.push(payload)),
      host,
    )
    await until(() => ticks > 0)
    proxy.silence()
    const before = ticks
    await until(async () => {
      await queue.enqueue(job, 'after', { principal: alice })
      return true
    })
    await until(() => seen.length > 0 && ticks > before, 40_000)
    await queue.close()
  }, 60_000)

  it('shows in the health of a schedule that cannot look at its state', async () => {
    await using server = await startPrivateRedis()
    await using own = createRig(server.url)
    const queue = createQueue({ connection: own.redis, secret, commandTimeout: '200ms' })
    const sweep = defineJob('sweep', { payload: z.object({}), access: 'system' })
    const host = own.host()
    await own.start(schedule(sweep, { queue, every: '100ms', payload: {} }), host)
    server.freeze()
    await until(async () => (await host.health.report()).checks['schedule:sweep:default']?.status === 'warn')
    server.thaw()
    await until(async () => (await host.health.report()).checks['schedule:sweep:default']?.status === 'pass')
    await queue.close()
  })
})
