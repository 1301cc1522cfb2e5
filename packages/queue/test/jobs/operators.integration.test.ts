import { testUser } from '@quintet/core/testing'
import { until } from '@quintet/test-kit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createQueue, defineJob, worker } from '../../src/index.ts'
import { createRig, secret, type Rig } from './rig.ts'

const alice = testUser({ tenantId: 'tenant-a' })
const job = defineJob('echo', { payload: z.string(), attempts: 1 })
const next = 'another-secret-of-more-than-32-chars'

let rig: Rig
beforeEach(() => {
  rig = createRig()
})
afterEach(async () => {
  await rig[Symbol.asyncDispose]()
})

const add = (payload: string, of = job) => rig.queue.enqueue(of, payload, { principal: alice })

async function addDead(count: number): Promise<void> {
  const failing = await rig.start(
    worker(job, { queue: rig.queue }, () => Promise.reject(new Error('broken'))),
  )
  for (let n = 0; n < count; n++) await add(`letter ${n}`)
  await until(async () => (await rig.queue.counts(job)).dead === count)
  await failing.close()
}

/** Leaves an entry in Redis whose data is no JSON. */
async function addBroken(id: string): Promise<void> {
  const bull = rig.queue.bull(job)
  await bull.add('echo', 'x', { jobId: id, attempts: 5 })
  await rig.redis.hset(bull.toKey(id), 'data', '{"v":1,')
}

describe('dead letters', () => {
  it('are replayed by two operators at once without an error, each one once', async () => {
    await addDead(30)
    const answers = await Promise.all([rig.queue.replayAll(job), rig.queue.replayAll(job)])
    expect(answers[0] + answers[1]).toBe(30)
    expect(await rig.queue.counts(job)).toMatchObject({ dead: 0, waiting: 30 })
  })

  it('are as old as their replay', async () => {
    await addDead(1)
    const [letter] = await rig.queue.deadLetters(job)
    await rig.redis.hset(rig.queue.bull(job).toKey(letter?.id ?? ''), 'timestamp', Date.now() - 604_800_000)
    await rig.queue.replayAll(job)
    expect((await rig.queue.counts(job)).oldestWaiting).toBeLessThan(60_000)
  })

  it('are made of entries that are no JSON, which can be listed and removed beside others', async () => {
    await addBroken('broken')
    await add('fails')
    await rig.start(worker(job, { queue: rig.queue }, () => Promise.reject(new Error('no'))))
    await until(async () => (await rig.queue.counts(job)).dead === 2)
    const letters = await rig.queue.deadLetters(job)
    expect(letters.find(({ id }) => id === 'broken')).toMatchObject({
      reason: expect.stringContaining('ERR_QUEUE_BAD_ENVELOPE') as string,
      tenantId: null,
    })
    await rig.queue.removeDeadLetter(job, 'broken')
    expect(await rig.queue.deadLetters(job)).toHaveLength(1)
  })

  it('do not hide the counts of a queue with an entry that is no JSON', async () => {
    await addBroken('broken')
    expect(await rig.queue.counts(job)).toMatchObject({ waiting: 1 })
    expect(await rig.queue.countsByKey(job)).toEqual({ unsigned: 1 })
  })

  it.each([
    ['opts', '{"attempts":'],
    ['opts', 'null'],
    ['opts', '{"removeOnComplete":{"age":"long"}}'],
    ['progress', '{'],
    ['parent', '7'],
  ])('do not come of a job whose %s in Redis are %s: it runs, as its envelope says', async (field, text) => {
    const bull = rig.queue.bull(job)
    const ids = [(await add('first')).id, (await add('second')).id]
    for (const id of ids) await rig.redis.hset(bull.toKey(id), field, text)
    expect(await rig.queue.counts(job)).toMatchObject({ waiting: 2 })
    const ran: string[] = []
    await rig.start(worker(job, { queue: rig.queue, concurrency: 1 }, ({ payload }) => ran.push(payload)))
    await until(() => ran.length === 2)
    await until(async () => (await rig.queue.counts(job)).completed === 2)
    expect(ran).toEqual(['first', 'second'])
  })

  it('can be replayed and removed though their options in Redis are no JSON', async () => {
    await addDead(2)
    const bull = rig.queue.bull(job)
    const [first, second] = await rig.queue.deadLetters(job)
    for (const letter of [first, second]) await rig.redis.hset(bull.toKey(letter?.id ?? ''), 'opts', '[')
    expect(await rig.queue.deadLetters(job)).toHaveLength(2)
    await rig.queue.removeDeadLetter(job, first?.id ?? '')
    expect(await rig.queue.replayAll(job)).toBe(1)
    expect(await rig.queue.counts(job)).toMatchObject({ dead: 0, waiting: 1 })
  })

  it.each([
    { limit: Number.NaN },
    { limit: '5' },
    { limit: 1.5 },
    { limit: 0 },
    { offset: -5 },
    { ofset: 1 },
  ])('are not listed for %o', async (options) => {
    await expect(rig.queue.deadLetters(job, options as never)).rejects.toThrow('deadLetters')
  })

  it('tell of a key whose job is dead, to whoever adds it again', async () => {
    const keyed = (of = job) => rig.queue.enqueue(of, 'x', { principal: alice, idempotencyKey: 'k' })
    expect(await keyed()).toMatchObject({ deduplicated: false })
    await rig.start(worker(job, { queue: rig.queue }, () => Promise.reject(new Error('no'))))
    await until(async () => (await rig.queue.counts(job)).dead === 1)
    expect(await keyed()).toMatchObject({ deduplicated: true, dead: true })
  })
})

describe('resign', () => {
  it('counts and signs jobs that are running, so that none of them dies of the new secret', async () => {
    const twice = defineJob('twice', { payload: z.string(), attempts: 2, backoff: 1 })
    const { prefix } = rig.queue
    const both = createQueue({ connection: rig.redis, secret: [next, secret], prefix })
    const alone = createQueue({ connection: rig.redis, secret: next, prefix })
    const gate = Promise.withResolvers<void>()
    const attempts: number[] = []
    const first = await rig.start(
      worker(twice, { queue: both }, async ({ attempt }) => {
        attempts.push(attempt)
        await gate.promise
        throw new Error('not now')
      }),
    )
    await add('x', twice)
    await until(() => attempts.length === 1)
    expect(await both.countsByKey(twice)).toEqual({ [rig.queue.signer.keyId]: 1 })
    expect(await both.resign(twice)).toEqual({ resigned: 1, refused: 0 })
    expect(await both.countsByKey(twice)).toEqual({ [both.signer.keyId]: 1 })
    const draining = first.drain('shutdown', new AbortController().signal)
    gate.resolve()
    await draining
    await first.close()
    await rig.start(worker(twice, { queue: alone }, ({ attempt }) => void attempts.push(attempt)))
    await until(() => attempts.length === 2)
    await until(async () => (await alone.counts(twice)).completed === 1)
    await both.close()
    await alone.close()
  })

  it('goes on beside a worker whose jobs end and are forgotten meanwhile', async () => {
    const fleeting = defineJob('fleeting', { payload: z.string(), retention: 0 })
    await Promise.all(Array.from({ length: 300 }, (_, n) => add(`${n}`, fleeting)))
    const both = createQueue({ connection: rig.redis, secret: [next, secret], prefix: rig.queue.prefix })
    await rig.start(worker(fleeting, { queue: both, concurrency: 20 }, () => undefined))
    await until(async () => {
      await both.resign(fleeting)
      const counts = await both.counts(fleeting)
      return counts.waiting + counts.active === 0
    })
    expect((await both.counts(fleeting)).dead).toBe(0)
    await both.close()
  })
})

describe('what could never run', () => {
  it.each([
    ['a cycle', () => Object.assign([] as unknown[], { 0: null, toJSON: () => 1n })],
    ['a BigInt', () => 1n],
  ])('is refused: %s as payload', async (_what, payload) => {
    const loose = defineJob('loose', { payload: z.any() })
    await expect(rig.queue.enqueue(loose, payload(), { principal: alice })).rejects.toMatchObject({
      code: 'ERR_QUEUE_BAD_PAYLOAD',
      kind: 'invalid-input',
    })
  })

  it.each([
    ['roles that are a text', { principal: { ...alice, roles: 'admin' } }, 'principal'],
    ['no permissions', { principal: { ...alice, permissions: undefined } }, 'principal'],
    ['a tenant that is undefined', { principal: { ...alice, tenantId: undefined } }, 'principal'],
    ['a traceparent that is none', { principal: alice, traceparent: 'x'.repeat(1_000) }, 'traceparent'],
    ['a delay of a hundred years', { principal: alice, delay: '36500d' }, 'delay'],
  ])('is refused: %s', async (_what, options, where) => {
    await expect(rig.queue.enqueue(job, 'x', options as never)).rejects.toThrow(where)
    expect((await rig.queue.counts(job)).waiting).toBe(0)
  })

  it('is refused: a job that has no time to run', () => {
    expect(() => defineJob('hasty', { payload: z.string(), maxAge: 0 })).toThrow('maxAge')
  })
})
