import { testUser } from '@quintet/core/testing'
import { until } from '@quintet/test-kit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineJob, worker, type JobDefinition } from '../../src/index.ts'
import { createRig, type Rig } from '../jobs/rig.ts'

let rig: Rig

beforeEach(() => {
  rig = createRig()
})
afterEach(() => rig[Symbol.asyncDispose]())

const job = defineJob('share', { payload: z.string(), backoff: '1ms' })
const first = defineJob('first', { payload: z.string(), fairness: 'none' })

const add = (
  tenantId: string,
  payload: string,
  to: JobDefinition = job,
  delay: number = 0,
): Promise<unknown> => rig.queue.enqueue(to, payload, { principal: testUser({ tenantId }), delay })

const names = (prefix: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => `${prefix}${n}`)

/** Runs one job after the other from now on, and tells of each. */
async function run(of: JobDefinition, failing: ReadonlySet<string> = new Set()): Promise<readonly string[]> {
  const ran: string[] = []
  await rig.start(
    worker(of, { queue: rig.queue, concurrency: 1 }, ({ payload, attempt }) => {
      ran.push(payload as string)
      if (failing.has(payload as string) && attempt === 1) throw new Error('once more')
    }),
  )
  return ran
}

describe('tenants whose jobs wait', () => {
  it('take turns, and the jobs of each keep their order', async () => {
    await Promise.all(names('a', 50).map((name) => add('a', name)))
    for (const name of names('b', 3)) await add('b', name)
    await add('c', 'c0')
    const ran = await run(job)
    await until(() => ran.length === 54)
    const of = (tenant: string): readonly string[] => ran.filter((name) => name.startsWith(tenant))
    expect([of('a'), of('b')]).toEqual([names('a', 50), names('b', 3)])
    // A job that comes first has waited for one of each other tenant at most.
    expect([ran.indexOf('b0'), ran.indexOf('c0')].toSorted()).toEqual([1, 2])
    expect(ran.indexOf('b2')).toBeLessThan(9)
  })

  it('come in the order in which they came where a job says so', async () => {
    for (const name of names('a', 5)) await add('a', name, first)
    await add('b', 'b0', first)
    const ran = await run(first)
    await until(() => ran.length === 6)
    expect(ran).toEqual([...names('a', 5), 'b0'])
  })

  it('take turns with jobs whose time comes, that are tried again or replayed', async () => {
    const late = names('a', 20)
    for (const name of late) await add('a', name, job, 1)
    await until(async () => {
      const [next] = await rig.queue.bull(job).getDelayed(0, 0)
      return next !== undefined && next.timestamp + next.delay < Date.now()
    })
    await add('b', 'b0')
    await add('b', 'b1')
    const ran = await run(job, new Set(late))
    await until(() => ran.length === 42)
    expect(ran.indexOf('b1')).toBeLessThan(6)

    const once = defineJob('once', { payload: z.string(), attempts: 1 })
    let dying = true
    const after: string[] = []
    for (const name of names('a', 10)) await add('a', name, once)
    const running = await rig.start(
      worker(once, { queue: rig.queue, concurrency: 1 }, ({ payload }) => {
        if (dying) throw new Error('dead')
        after.push(payload)
      }),
    )
    await until(async () => (await rig.queue.counts(once)).dead === 10)
    await running.close()
    dying = false
    await rig.queue.replayAll(once)
    await add('b', 'b0', once)
    await rig.start(
      worker(once, { queue: rig.queue, concurrency: 1 }, ({ payload }) => void after.push(payload)),
    )
    await until(() => after.length === 11)
    expect(after.indexOf('b0')).toBeLessThan(3)
  })

  it('are reached though a process died between adding their job and placing it, in the order in which they came', async () => {
    await add('b', 'b0')
    await add('b', 'b1')
    const bull = rig.queue.bull(job)
    const placed = Object.entries(await turns()).toSorted(([, a], [, b]) => a - b)
    for (const [at, [id]] of placed.entries()) {
      await rig.redis.zadd(bull.toKey('prioritized'), (2 ** 21 - 1) * 2 ** 32 + at, id)
      await rig.redis.hset(bull.toKey(id), 'priority', 2 ** 21 - 1)
    }
    for (const name of names('a', 20)) await add('a', name)
    await add('b', 'b2')
    const ran = await run(job)
    await until(() => ran.length === 23)
    expect(ran.filter((name) => name.startsWith('b'))).toEqual(names('b', 3))
    expect(ran.indexOf('b0')).toBeLessThan(3)
  })

  it('do not wait for each of the jobs of others whose time has come', async () => {
    for (const name of names('a', 300)) await add('a', name, job, 1)
    await until(async () => {
      const delayed = await rig.queue.bull(job).getDelayed(299, 299)
      return delayed.every((each) => each.timestamp + each.delay < Date.now())
    })
    await add('b', 'b0')
    const ran = await run(job)
    await until(() => ran.includes('b0'))
    const events = await rig.redis.xrange(rig.queue.bull(job).toKey('events'), '-', '+')
    const taken = events.map(([, fields]) => fields).filter((fields) => fields.includes('active'))
    expect(taken.length).toBeLessThan(30)
    await until(() => ran.length === 301)
    expect(ran.filter((name) => name.startsWith('a'))).toEqual(names('a', 300))
  })

  it('are counted, and keep their turns when these are counted from the first one again', async () => {
    for (const name of names('a', 4)) await add('a', name)
    const bull = rig.queue.bull(job)
    const far = 2 ** 20 + 5
    for (const [id, score] of Object.entries(await turns())) {
      await rig.redis.zadd(bull.toKey('prioritized'), score + far * 2 ** 32, id)
      await rig.redis.hset(bull.toKey(id), 'priority', Math.floor(score / 2 ** 32) + far)
    }
    await rig.redis.hset(bull.toKey('turns'), 'a', 6 + far)
    await add('b', 'b0')
    await add('a', 'a4')
    expect(Object.values(await turns()).map((score) => Math.floor(score / 2 ** 32))).toEqual([
      2, 2, 3, 4, 5, 6,
    ])
    expect(await rig.queue.counts(job)).toMatchObject({ waiting: 6, delayed: 0 })
    await until(async () => (await rig.queue.counts(job)).oldestWaiting > 0)
    const ran = await run(job)
    await until(() => ran.length === 6)
    expect(ran).toEqual(['a0', 'b0', 'a1', 'a2', 'a3', 'a4'])
    expect((await rig.queue.counts(job)).waiting).toBe(0)
  })

  it('keep the turns of jobs that a process gives back when it stops', async () => {
    for (const name of names('a', 3)) await add('a', name)
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    let started = 0
    const stopping = await rig.start(
      worker(job, { queue: rig.queue, concurrency: 2 }, async ({ signal }) => {
        started++
        await Promise.race([gate, new Promise((resolve) => signal.addEventListener('abort', resolve))])
        signal.throwIfAborted()
      }),
    )
    await until(() => started === 2)
    await add('b', 'b0')
    await stopping.drain?.('shutdown' as never, AbortSignal.abort(new DOMException('stop', 'AbortError')))
    await stopping.close()
    open()
    const ran = await run(job)
    await until(() => ran.length === 4)
    expect(ran).toEqual(['a0', 'a1', 'a2', 'b0'])
  })
})

async function turns(): Promise<Readonly<Record<string, number>>> {
  const flat = await rig.redis.zrange(rig.queue.bull(job).toKey('prioritized'), 0, '-1', 'WITHSCORES')
  return Object.fromEntries(
    Array.from({ length: flat.length / 2 }, (_, n) => [flat[2 * n] ?? '', Number(flat[2 * n + 1])]),
  )
}
