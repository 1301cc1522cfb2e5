import { systemPrincipal } from '@quintet/core'
import { createTestHost, testUser } from '@quintet/core/testing'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createQueue, defineJob, worker, type Envelope } from '../../src/index.ts'
import { createRig, secret, type Rig } from './rig.ts'

const alice = testUser({ tenantId: 'tenant-a' })
const job = defineJob('echo', { payload: z.object({ text: z.string() }) })

let rig: Rig
beforeEach(() => {
  rig = createRig()
})
afterEach(async () => {
  await rig[Symbol.asyncDispose]()
})

describe('enqueue', () => {
  const keyed = (text: string, idempotencyKey: string, principal = alice) =>
    rig.queue.enqueue(job, { text }, { principal, idempotencyKey })

  it('makes one job of one key, and says so', async () => {
    const first = await keyed('one', 'k1')
    const second = await keyed('two', 'k1')
    expect(first.deduplicated).toBe(false)
    expect(second).toEqual({ id: first.id, deduplicated: true, dead: false })
    expect(await rig.queue.counts(job)).toMatchObject({ waiting: 1 })
  })

  it('answers one of many callers with the same key and payload that the job is new', async () => {
    for (let round = 0; round < 20; round++) {
      const answers = await Promise.all(Array.from({ length: 2 }, () => keyed('same', `round ${round}`)))
      expect(answers.filter(({ deduplicated }) => !deduplicated)).toHaveLength(1)
    }
  })

  it('makes one job of one key when it is asked many times at once', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => keyed(`text ${n}`, 'same')))
    expect(answers.filter(({ deduplicated }) => !deduplicated)).toHaveLength(1)
  })

  it('knows a key for as long as the finished job is remembered', async () => {
    const seen: string[] = []
    await rig.start(worker(job, { queue: rig.queue }, ({ payload }) => void seen.push(payload.text)))
    await keyed('one', 'k1')
    await until(async () => (await rig.queue.counts(job)).completed === 1)
    expect((await keyed('two', 'k1')).deduplicated).toBe(true)
    const forgetful = defineJob('forgetful', { payload: z.string(), retention: 0 })
    await rig.start(worker(forgetful, { queue: rig.queue }, ({ payload }) => void seen.push(payload)))
    for (const text of ['three', 'four']) {
      await rig.queue.enqueue(forgetful, text, { principal: alice, idempotencyKey: 'k' })
      await until(() => seen.includes(text))
      await until(async () => (await rig.queue.counts(forgetful)).active === 0)
    }
    expect(seen).toEqual(['one', 'three', 'four'])
  })

  it('keeps the keys of tenants apart', async () => {
    await keyed('one', 'k1')
    expect((await keyed('one', 'k1', testUser({ tenantId: 'tenant-b' }))).deduplicated).toBe(false)
  })

  it('takes the principal and the trace of the running call', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const host = createTestHost()
    await host.pipeline.run(
      {
        operation: { surface: 'rpc', name: 'x', access: 'authenticated', freshness: undefined, timeout: 0 },
        credentials: { scheme: 'attested', principal: alice, by: 'in-process' },
        requestId: 'r',
        traceparent,
        signal: new AbortController().signal,
      },
      { input: () => undefined, handle: () => rig.queue.enqueue(job, { text: 'x' }) },
    )
    const traces: unknown[] = []
    await rig.start(
      worker(job, { queue: rig.queue }, ({ principal }) => void traces.push(principal.userId)),
      rig.host({
        wrappers: [async (invocation, next) => (traces.push(invocation.traceparent), await next())],
      }),
    )
    await until(() => traces.length === 2)
    expect(traces).toEqual([traceparent, alice.userId])
  })

  it('needs somebody for whom the job may run', async () => {
    await expect(rig.queue.enqueue(job, { text: 'x' })).rejects.toThrow('there is no running call')
    await expect(
      rig.queue.enqueue(job, { text: 'x' }, { principal: systemPrincipal('x') }),
    ).rejects.toMatchObject({
      code: 'ERR_QUEUE_FORBIDDEN',
    })
    const admins = defineJob('admins', { payload: z.string(), access: { roles: ['admin'] } })
    await expect(rig.queue.enqueue(admins, 'x', { principal: alice })).rejects.toMatchObject({
      code: 'ERR_QUEUE_FORBIDDEN',
    })
  })

  it('refuses what does not fit, what is too large and what it does not know', async () => {
    await expect(rig.queue.enqueue(job, { text: 7 } as never, { principal: alice })).rejects.toMatchObject({
      code: 'ERR_QUEUE_BAD_PAYLOAD',
      kind: 'invalid-input',
      details: { issues: [{ pointer: '/text' }] },
    })
    const small = defineJob('small', { payload: z.string(), maxPayloadSize: 10 })
    await expect(rig.queue.enqueue(small, 'x'.repeat(20), { principal: alice })).rejects.toMatchObject({
      code: 'ERR_QUEUE_PAYLOAD_TOO_LARGE',
    })
    // A date does not survive JSON as one: found here and not by the worker.
    const dated = defineJob('dated', { payload: z.date() })
    await expect(rig.queue.enqueue(dated, new Date(), { principal: alice })).rejects.toMatchObject({
      code: 'ERR_QUEUE_BAD_PAYLOAD',
    })
    await expect(rig.queue.enqueue(job, { text: 'x' }, { principle: alice } as never)).rejects.toThrow(
      'Did you mean "principal"?',
    )
    await expect(keyed('x', '')).rejects.toThrow('enqueue echo.idempotencyKey')
  })

  it('says that the queue is unavailable when Redis is, and closed when it is', async () => {
    await using server = await startPrivateRedis()
    const redis = new Redis(server.url, {
      maxRetriesPerRequest: 0,
      commandTimeout: 300,
      enableOfflineQueue: true,
    })
    redis.on('error', () => undefined)
    const queue = createQueue({ connection: redis, secret })
    await queue.enqueue(job, { text: 'x' }, { principal: alice })
    await server.kill()
    await expect(queue.enqueue(job, { text: 'x' }, { principal: alice })).rejects.toMatchObject({
      code: 'ERR_QUEUE_UNAVAILABLE',
      kind: 'unavailable',
      retryAfter: 1_000,
    })
    await queue.close()
    await queue.close()
    await expect(queue.enqueue(job, { text: 'x' }, { principal: alice })).rejects.toMatchObject({
      code: 'ERR_QUEUE_CLOSED',
    })
    redis.disconnect()
  })

  it('goes on where Redis left off: a worker survives a restart', async () => {
    await using server = await startPrivateRedis()
    await using own = createRig(server.url)
    const seen: string[] = []
    await own.start(worker(job, { queue: own.queue }, ({ payload }) => void seen.push(payload.text)))
    await own.queue.enqueue(job, { text: 'before' }, { principal: alice })
    await until(() => seen.includes('before'))
    await server.restart()
    await until(async () => {
      await own.queue.enqueue(job, { text: 'after' }, { principal: alice })
      return true
    })
    await until(() => seen.includes('after'), 20_000)
  })
})

describe('createQueue', () => {
  it('refuses options that it does not know or that make no sense', () => {
    const connection = rig.redis
    expect(() => createQueue({ connection, secret, prefx: 'x' } as never)).toThrow('Did you mean "prefix"?')
    expect(() => createQueue({ connection, secret: 'short' })).toThrow('at least 32 characters')
    expect(() => createQueue({ connection, secret: [] })).toThrow('needs at least one')
    expect(() => createQueue({ connection, secret, prefix: 'a:b' })).toThrow('createQueue.prefix: "a:b"')
    expect(() => createQueue({ connection: {} as never, secret })).toThrow('createQueue.connection')
    const prefixed = new Redis({ lazyConnect: true, keyPrefix: 'x:' })
    expect(() => createQueue({ connection: prefixed, secret })).toThrow('has a keyPrefix')
  })

  it('runs nothing that is older than its job allows, and a replay signs it anew', async () => {
    const brief = defineJob('brief', { payload: z.string(), maxAge: '1m' })
    const address = { prefix: rig.queue.prefix, job: 'brief', id: 'captured' }
    const envelope = rig.queue.signer.seal(address, alice, '"x"', { expiresAt: Date.now() - 1 })
    await rig.queue.bull(brief).add('brief', envelope, { jobId: 'captured', attempts: 5 })
    const seen: string[] = []
    await rig.start(worker(brief, { queue: rig.queue }, ({ payload }) => void seen.push(payload)))
    await until(async () => (await rig.queue.counts(brief)).dead === 1)
    expect((await rig.queue.deadLetters(brief))[0]?.reason).toContain('it has expired')
    expect(seen).toEqual([])
    await rig.queue.replay(brief, 'captured')
    await until(() => seen.length === 1)
  })

  it('bounds the age of what it adds from the time at which it is due', async () => {
    const brief = defineJob('brief', { payload: z.string(), maxAge: '1m' })
    const before = Date.now()
    const { id } = await rig.queue.enqueue(brief, 'x', { principal: alice, delay: '1h' })
    const stored = (await rig.queue.bull(brief).getJob(id))?.data as Envelope | undefined
    const expiresAt = stored?.ctx.expiresAt ?? 0
    expect(expiresAt - before).toBeGreaterThanOrEqual(3_660_000)
    expect(expiresAt - before).toBeLessThan(3_720_000)
  })

  it('signs jobs again when a secret is replaced, so that the old one can go', async () => {
    const { prefix } = rig.queue
    const next = 'another-secret-of-more-than-32-chars'
    await rig.queue.enqueue(job, { text: 'waits' }, { principal: alice })
    await rig.queue.enqueue(job, { text: 'delayed' }, { principal: alice, delay: '1s' })
    await rig.queue.bull(job).add('echo', { kid: 'x' }, { jobId: 'forged' })
    const both = createQueue({ connection: rig.redis, secret: [next, secret], prefix })
    expect(await both.countsByKey(job)).toEqual({ [rig.queue.signer.keyId]: 2, x: 1 })
    expect(await both.resign(job)).toEqual({ resigned: 2, refused: 1 })
    expect(await both.countsByKey(job)).toEqual({ [both.signer.keyId]: 2, x: 1 })
    await both.close()
    const alone = createQueue({ connection: rig.redis, secret: next, prefix })
    const seen: string[] = []
    await rig.start(worker(job, { queue: alone }, ({ payload }) => void seen.push(payload.text)))
    await until(() => seen.length === 2)
    await alone.close()
  })

  it('opens envelopes with an older secret, so that a secret can be replaced', async () => {
    const { prefix } = rig.queue
    const next = 'another-secret-of-more-than-32-chars'
    const replaced = createQueue({ connection: rig.redis, secret: [next, secret], prefix })
    const seen: string[] = []
    await rig.start(worker(job, { queue: replaced }, ({ payload }) => void seen.push(payload.text)))
    await rig.queue.enqueue(job, { text: 'old' }, { principal: alice })
    await replaced.enqueue(job, { text: 'new' }, { principal: alice })
    await until(() => seen.length === 2)
    await replaced.close()
  })
})
