import { AsyncLocalStorage } from 'node:async_hooks'
import { type InvocationWrapper, type Principal, QuintetError, systemPrincipal } from '@quintet/core'
import { testUser } from '@quintet/core/testing'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createQueue, defineJob, giveUp, worker, type JobCall } from '../../src/index.ts'
import { createRig, type Rig } from '../jobs/rig.ts'

const Thumbnail = z.strictObject({ objectId: z.string(), width: z.number() })
const makeThumbnail = defineJob('make-thumbnail', { payload: Thumbnail, backoff: { min: 10, max: 20 } })
const alice = testUser({
  userId: 'alice',
  tenantId: 'tenant-a',
  roles: ['editor'],
  permissions: ['objects:write'],
})

let rig: Rig
beforeEach(() => {
  rig = createRig()
})
afterEach(async () => {
  await rig[Symbol.asyncDispose]()
})

const enqueue = (objectId = 'o1', principal: Principal = alice) =>
  rig.queue.enqueue(makeThumbnail, { objectId, width: 10 }, { principal })

describe('worker', () => {
  it('hands the handler the payload, the principal of the envelope and the services of the process', async () => {
    const calls: JobCall<typeof makeThumbnail, { name: string }>[] = []
    const host = rig.host({ provide: { name: 'services' } })
    await rig.start(
      worker(
        makeThumbnail,
        { queue: (_services: { name: string }) => rig.queue },
        (call) => void calls.push(call),
      ),
      host,
    )
    const { id } = await enqueue()
    const call = await until(() => calls[0])
    expect(call).toMatchObject({
      payload: { objectId: 'o1', width: 10 },
      attempt: 1,
      jobId: id,
      services: { name: 'services' },
    })
    expect(call.principal).toEqual({ ...alice, sessionId: null })
  })

  it('opens the wrappers of the process around the handler, with the principal of each job', async () => {
    const scope = new AsyncLocalStorage<string | null>()
    const openScope: InvocationWrapper = (invocation, next) => scope.run(invocation.principal.tenantId, next)
    const seen: string[] = []
    await rig.start(
      worker(
        makeThumbnail,
        { queue: rig.queue },
        ({ payload }) => void seen.push(`${payload.objectId} in ${scope.getStore()}`),
      ),
      rig.host({ wrappers: [openScope] }),
    )
    await Promise.all([enqueue('o1'), enqueue('o2', testUser({ tenantId: 'tenant-b' })), enqueue('o3')])
    await until(() => seen.length === 3)
    expect(seen.toSorted()).toEqual(['o1 in tenant-a', 'o2 in tenant-b', 'o3 in tenant-a'])
  })

  it('tries again what fails, and counts the attempts', async () => {
    const attempts: number[] = []
    await rig.start(
      worker(makeThumbnail, { queue: rig.queue }, ({ attempt }) => {
        attempts.push(attempt)
        if (attempt < 3) throw new Error('not yet')
      }),
    )
    await enqueue()
    await until(async () => (await rig.queue.counts(makeThumbnail)).completed === 1)
    expect(attempts).toEqual([1, 2, 3])
  })

  it('gives up after the last attempt, and a dead letter says why and can be replayed', async () => {
    const twice = defineJob('twice', { payload: z.string(), attempts: 2, backoff: { min: 5, max: 5 } })
    let broken = true
    let ran = 0
    await rig.start(
      worker(twice, { queue: rig.queue }, () => {
        ran++
        if (broken) throw new Error('disk full')
      }),
    )
    const { id } = await rig.queue.enqueue(twice, 'x', { principal: alice })
    await until(async () => (await rig.queue.counts(twice)).dead === 1)
    expect(ran).toBe(2)
    const [letter] = await rig.queue.deadLetters(twice)
    expect(letter).toMatchObject({
      id,
      reason: 'ERR_CORE_INTERNAL: disk full',
      attempts: 2,
      tenantId: 'tenant-a',
      userId: 'alice',
      payload: 'x',
    })
    expect(letter?.failedAt).toBeGreaterThanOrEqual(letter?.enqueuedAt ?? Infinity)
    broken = false
    await rig.queue.replay(twice, id)
    await until(async () => (await rig.queue.counts(twice)).completed === 1)
    expect((await rig.queue.counts(twice)).dead).toBe(0)
    await expect(rig.queue.replay(twice, id)).rejects.toMatchObject({ code: 'ERR_QUEUE_NO_DEAD_LETTER' })
    await expect(rig.queue.removeDeadLetter(twice, 'nothing')).rejects.toMatchObject({
      code: 'ERR_QUEUE_NO_DEAD_LETTER',
    })
  })

  it('replays and removes many dead letters', async () => {
    const once = defineJob('once', { payload: z.string(), attempts: 1 })
    let broken = true
    await rig.start(
      worker(once, { queue: rig.queue }, () => (broken ? Promise.reject(new Error('no')) : undefined)),
    )
    for (const text of ['a', 'b', 'c']) await rig.queue.enqueue(once, text, { principal: alice })
    await until(async () => (await rig.queue.counts(once)).dead === 3)
    expect(await rig.queue.deadLetters(once, { limit: 2 })).toHaveLength(2)
    expect(await rig.queue.deadLetters(once, { offset: 2 })).toHaveLength(1)
    const [latest] = await rig.queue.deadLetters(once)
    await rig.queue.removeDeadLetter(once, latest?.id ?? '')
    broken = false
    expect(await rig.queue.replayAll(once)).toBe(2)
    await until(async () => (await rig.queue.counts(once)).completed === 2)
  })

  it('does not try again what a handler gives up', async () => {
    let ran = 0
    await rig.start(
      worker(makeThumbnail, { queue: rig.queue }, () => {
        ran++
        throw giveUp('the object is no image')
      }),
    )
    await enqueue()
    await until(async () => (await rig.queue.counts(makeThumbnail)).dead === 1)
    expect(ran).toBe(1)
    expect((await rig.queue.deadLetters(makeThumbnail))[0]?.reason).toBe(
      'ERR_QUEUE_GIVE_UP: the object is no image',
    )
  })

  it('waits as long as an error asks for before the next attempt', async () => {
    const times: number[] = []
    await rig.start(
      worker(makeThumbnail, { queue: rig.queue }, ({ attempt }) => {
        times.push(performance.now())
        if (attempt === 1)
          throw new QuintetError('busy', { code: 'ERR_TEST_BUSY', kind: 'unavailable', retryAfter: 400 })
      }),
    )
    await enqueue()
    await until(() => times.length === 2)
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(390)
  })

  it('aborts the signal of a handler at its timeout, and tries again', async () => {
    const quick = defineJob('quick', {
      payload: z.string(),
      timeout: 50,
      attempts: 2,
      backoff: { min: 1, max: 1 },
    })
    const attempts: number[] = []
    await rig.start(
      worker(quick, { queue: rig.queue }, async ({ signal, attempt }) => {
        attempts.push(attempt)
        if (attempt === 1)
          await new Promise<void>((resolve) =>
            signal.addEventListener('abort', () => resolve(), { once: true }),
          )
      }),
    )
    await rig.queue.enqueue(quick, 'x', { principal: alice })
    await until(async () => (await rig.queue.counts(quick)).completed === 1)
    expect(attempts).toEqual([1, 2])
  })

  it('runs no more jobs at once than its concurrency', async () => {
    let running = 0
    let most = 0
    let done = 0
    await rig.start(
      worker(makeThumbnail, { queue: rig.queue, concurrency: 2 }, async () => {
        most = Math.max(most, ++running)
        await until(() => most >= 2)
        running--
        done++
      }),
    )
    await Promise.all(Array.from({ length: 8 }, (_, n) => enqueue(`o${n}`)))
    await until(() => done === 8)
    expect(most).toBe(2)
  })

  it('reports its queue to the health of the process', async () => {
    const host = rig.host()
    const { promise: gate, resolve: openGate } = Promise.withResolvers<void>()
    await rig.start(
      worker(makeThumbnail, { queue: rig.queue, concurrency: 1, maxLag: 1 }, () => gate),
      host,
    )
    expect((await host.health.report()).checks['queue:make-thumbnail']).toMatchObject({ status: 'pass' })
    await enqueue('o1')
    await enqueue('o2')
    const check = await until(async () => {
      const { checks } = await host.health.report()
      return checks['queue:make-thumbnail']?.status === 'warn' ? checks['queue:make-thumbnail'] : undefined
    })
    expect(check.detail).toMatch(/^1 waiting, 1 active, 0 dead, the oldest waits for \d+ ms$/)
    openGate()
  })

  it('runs a system job as the system, for the tenant of whoever enqueued it', async () => {
    const sweep = defineJob('sweep', { payload: z.string(), access: 'system' })
    const seen: Principal[] = []
    await rig.start(worker(sweep, { queue: rig.queue }, ({ principal }) => void seen.push(principal)))
    await rig.queue.enqueue(sweep, 'x')
    await rig.queue.enqueue(sweep, 'y', { principal: systemPrincipal('audit', 'tenant-b') })
    await until(() => seen.length === 2)
    expect(seen.map(({ kind, tenantId }) => `${kind} ${tenantId}`).toSorted()).toEqual([
      'system null',
      'system tenant-b',
    ])
  })

  it('moves a delayed job to its time', async () => {
    const times: number[] = []
    await rig.start(worker(makeThumbnail, { queue: rig.queue }, () => void times.push(Date.now())))
    const before = Date.now()
    await rig.queue.enqueue(
      makeThumbnail,
      { objectId: 'late', width: 1 },
      { principal: alice, delay: '300ms' },
    )
    await until(() => times.length === 1)
    expect((times[0] ?? 0) - before).toBeGreaterThanOrEqual(295)
  })
})

describe('drain', () => {
  it('waits for what is in progress and takes nothing new', async () => {
    const { promise: gate, resolve: openGate } = Promise.withResolvers<void>()
    let started = 0
    let finished = 0
    const running = await rig.start(
      worker(makeThumbnail, { queue: rig.queue, concurrency: 1 }, async () => {
        started++
        await gate
        finished++
      }),
    )
    await enqueue('o1')
    await enqueue('o2')
    await until(() => started === 1)
    const drained = running.drain('shutdown', new AbortController().signal)
    openGate()
    await drained
    await running.close()
    expect({ started, finished }).toEqual({ started: 1, finished: 1 })
    expect(await rig.queue.counts(makeThumbnail)).toMatchObject({ waiting: 1, active: 0, completed: 1 })
  })

  it('ends at its deadline, tells the handler, and gives the job back without using up an attempt', async () => {
    const once = defineJob('once', { payload: z.string(), attempts: 1 })
    let started = 0
    const running = await rig.start(
      worker(once, { queue: rig.queue }, async ({ signal }) => {
        started++
        await new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
        )
      }),
    )
    await rig.queue.enqueue(once, 'x', { principal: alice })
    await until(() => started === 1)
    const before = performance.now()
    expect(await running.drain('shutdown', AbortSignal.timeout(100))).toBe('handed-over')
    await running.close()
    expect(performance.now() - before).toBeLessThan(2_500)
    expect(await rig.queue.counts(once)).toMatchObject({ waiting: 1, active: 0, dead: 0 })

    const done: number[] = []
    await rig.start(worker(once, { queue: rig.queue }, ({ attempt }) => void done.push(attempt)))
    await until(() => done.length === 1)
    expect(done).toEqual([1])
  })

  it('ends within its deadline also when a handler ignores its signal, and another worker takes the job over', async () => {
    let started = 0
    const { promise: never, resolve: end } = Promise.withResolvers<void>()
    const running = await rig.start(
      worker(makeThumbnail, { queue: rig.queue, lockDuration: '1s' }, () => {
        started++
        return never
      }),
    )
    await enqueue()
    await until(() => started === 1)
    const before = performance.now()
    expect(await running.drain('shutdown', AbortSignal.timeout(100))).toBeUndefined()
    await running.close()
    expect(performance.now() - before).toBeLessThan(2_500)
    const done: string[] = []
    await rig.start(
      worker(makeThumbnail, { queue: rig.queue, lockDuration: '1s' }, ({ jobId }) => void done.push(jobId)),
    )
    await until(() => done.length === 1)
    end()
  })
})

describe('a job whose lock was lost', () => {
  const short = { lockDuration: '1s' } as const

  it('has its signal aborted, and its next run counts as a further attempt with a higher fencing token', async () => {
    const runs: { readonly attempt: number; readonly fencingToken: number }[] = []
    const reasons: unknown[] = []
    await rig.start(
      worker(
        makeThumbnail,
        { queue: rig.queue, ...short },
        async ({ attempt, fencingToken, signal, jobId }) => {
          runs.push({ attempt, fencingToken })
          if (attempt > 1) return
          await rig.redis.del(`${rig.queue.bull(makeThumbnail).toKey(jobId)}:lock`)
          await until(() => signal.aborted)
          reasons.push(signal.reason)
        },
      ),
    )
    await enqueue()
    await until(() => runs.length === 2, 20_000)
    expect(reasons).toMatchObject([{ code: 'ERR_QUEUE_LOCK_LOST' }])
    expect(runs.map(({ attempt }) => attempt)).toEqual([1, 2])
    expect(runs[1]?.fencingToken).toBeGreaterThan(runs[0]?.fencingToken ?? Infinity)
  })

  it('does not run twice at once in one process, though its handler ignores the signal', async () => {
    let running = 0
    let most = 0
    let runs = 0
    let lost = false
    const { promise: gate, resolve: openGate } = Promise.withResolvers<void>()
    await rig.start(
      worker(makeThumbnail, { queue: rig.queue, ...short }, async ({ signal, jobId }) => {
        most = Math.max(most, ++running)
        if (++runs === 1) {
          signal.addEventListener('abort', () => (lost = true))
          await rig.redis.del(`${rig.queue.bull(makeThumbnail).toKey(jobId)}:lock`)
          await gate
        }
        running--
      }),
    )
    await enqueue()
    await until(() => lost, 20_000)
    // By now it was taken again, and put off.
    await until(async () => (await rig.queue.counts(makeThumbnail)).delayed === 1, 20_000)
    openGate()
    await until(() => runs === 2, 20_000)
    expect(most).toBe(1)
  })

  it('is dead after its attempts, however they ended', async () => {
    const once = defineJob('once', { payload: z.string(), attempts: 1 })
    let runs = 0
    await rig.start(
      worker(once, { queue: rig.queue, ...short }, async ({ signal, jobId }) => {
        runs++
        await rig.redis.del(`${rig.queue.bull(once).toKey(jobId)}:lock`)
        await until(() => signal.aborted)
      }),
    )
    const { id } = await rig.queue.enqueue(once, 'x', { principal: alice })
    await until(async () => (await rig.queue.counts(once)).dead === 1, 20_000)
    expect(runs).toBe(1)
    await rig.queue.replay(once, id)
    await until(() => runs === 2, 20_000)
  })
})

describe('close', () => {
  it('leaves no connection of the worker, and drain takes nothing while a job is in progress', async () => {
    await using server = await startPrivateRedis()
    await using own = createRig(server.url)
    const clients = async (): Promise<number> =>
      String(await own.redis.client('LIST'))
        .trim()
        .split('\n').length
    await own.queue.counts(makeThumbnail)
    const before = await clients()
    const taken: string[] = []
    const { promise: gate, resolve: openGate } = Promise.withResolvers<void>()
    const take = (name: string) =>
      worker(makeThumbnail, { queue: own.queue, concurrency: 3 }, async ({ payload }) => {
        taken.push(`${name} ${payload.objectId}`)
        if (payload.objectId === 'o1') await gate
      })
    const running = await own.start(take('first'))
    const add = (objectId: string) =>
      own.queue.enqueue(makeThumbnail, { objectId, width: 1 }, { principal: alice })
    await add('o1')
    await until(() => taken.length === 1)
    let drained = false
    const draining = running.drain('shutdown', new AbortController().signal).then(() => (drained = true))
    const second = await own.start(take('second'))
    for (const id of ['o2', 'o3', 'o4', 'o5', 'o6']) await add(id)
    await until(() => taken.length === 6)
    expect(taken.filter((each) => each.startsWith('first'))).toEqual(['first o1'])
    expect(drained).toBe(false)
    openGate()
    await draining
    await running.close()
    await second.close()
    await until(async () => (await clients()) === before)
  })
})

describe('envelopes that are not ours', () => {
  const refuse = async (add: (id: string) => Promise<void>, reason: string): Promise<void> => {
    let ran = 0
    await rig.start(worker(makeThumbnail, { queue: rig.queue }, () => void ran++))
    await add('forged')
    await until(async () => (await rig.queue.counts(makeThumbnail)).dead === 1)
    expect((await rig.queue.deadLetters(makeThumbnail))[0]).toMatchObject({
      reason: expect.stringContaining(reason) as string,
      attempts: 1,
    })
    expect(ran).toBe(0)
  }
  const add = (data: unknown) => (id: string) =>
    rig.queue
      .bull(makeThumbnail)
      .add('make-thumbnail', data, { jobId: id, attempts: 5 })
      .then(() => undefined)
  const payload = { objectId: 'o1', width: 1 }

  it('are refused when they are not signed', () =>
    refuse(
      add({ v: 1, ctx: { tenant: 'tenant-a' }, payload }),
      'ERR_QUEUE_BAD_ENVELOPE: The envelope was refused: it is not signed',
    ))

  it('are refused when they are nothing of the kind', () => refuse(add('text'), 'it is no envelope'))

  it('are refused when another secret signed them', async () => {
    const other = createQueue({
      connection: rig.redis,
      secret: 'another-secret-of-more-than-32-chars',
      prefix: rig.queue.prefix,
    })
    await refuse(async () => {
      await other.enqueue(makeThumbnail, payload, { principal: alice })
    }, 'its signature is not one of ours')
    await other.close()
  })

  it.each([
    [
      'another tenant',
      (envelope: Record<string, object>) => ({
        ...envelope,
        ctx: { ...envelope['ctx'], tenant: 'tenant-b' },
      }),
    ],
    [
      'more roles',
      (envelope: Record<string, object>) => ({ ...envelope, ctx: { ...envelope['ctx'], roles: ['admin'] } }),
    ],
    [
      'another payload',
      (envelope: Record<string, object>) => ({ ...envelope, payload: { objectId: 'o2', width: 1 } }),
    ],
  ])('are refused when they were changed to %s', async (_what, change) => {
    const envelope = rig.queue.signer.seal(
      { prefix: rig.queue.prefix, job: 'make-thumbnail', id: 'forged' },
      alice,
      JSON.stringify(payload),
    )
    await refuse(
      add(change(envelope as unknown as Record<string, object>)),
      'its signature is not one of ours',
    )
  })

  it('are refused under another id, for another job or for another prefix', async () => {
    const text = JSON.stringify(payload)
    const addresses = [
      { prefix: rig.queue.prefix, job: 'make-thumbnail', id: 'another' },
      { prefix: rig.queue.prefix, job: 'remove-object', id: 'forged' },
      { prefix: 'elsewhere', job: 'make-thumbnail', id: 'forged' },
    ]
    for (const address of addresses) {
      const stolen = rig.queue.signer.seal(address, alice, text)
      expect(() =>
        rig.queue.signer.open({ prefix: rig.queue.prefix, job: 'make-thumbnail', id: 'forged' }, stolen),
      ).toThrow('its signature is not one of ours')
    }
    await refuse(add(rig.queue.signer.seal(addresses[0] as never, alice, text)), 'its signature')
  })

  it('go to the dead letters when the payload of a genuine one does not fit', () =>
    refuse(
      (id) =>
        add(
          rig.queue.signer.seal(
            { prefix: rig.queue.prefix, job: 'make-thumbnail', id },
            alice,
            '{"objectId":7}',
          ),
        )(id),
      'ERR_QUEUE_BAD_PAYLOAD',
    ))

  it('go to the dead letters when the principal may not run the job', () =>
    refuse(
      (id) =>
        add(
          rig.queue.signer.seal(
            { prefix: rig.queue.prefix, job: 'make-thumbnail', id },
            systemPrincipal('x', 'tenant-a'),
            JSON.stringify(payload),
          ),
        )(id),
      'ERR_CORE_FORBIDDEN',
    ))
})
