import { systemPrincipal } from '@quintet/core'
import { until } from '@quintet/test-kit'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { defineJob, schedule, worker } from '../../src/index.ts'
import { resolveSchedule } from '../../src/schedules/job-schedule.ts'
import { createRig, type Rig } from '../jobs/rig.ts'

const sweep = defineJob('sweep', { payload: z.string(), access: 'system' })
const realNow = Date.now

let rig: Rig
beforeEach(() => {
  rig = createRig()
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rig[Symbol.asyncDispose]()
})

interface Run {
  readonly id: string
  readonly payload: string
  readonly actor: string
  readonly tenantId: string | null
}
async function startWorker(): Promise<Run[]> {
  const runs: Run[] = []
  await rig.start(
    worker(sweep, { queue: rig.queue }, ({ jobId, payload, principal }) => {
      runs.push({ id: jobId, payload, actor: principal.actor, tenantId: principal.tenantId })
    }),
  )
  return runs
}
const stateOf = (name: string): string => `${rig.queue.prefix}:sweep:schedule:${name}`
const lastField = async (key: string): Promise<string> =>
  (await rig.redis.hkeys(key)).find((field) => field.startsWith('last:')) ?? ''

describe('schedule', () => {
  it('runs once for the whole fleet each time, as the system', async () => {
    const runs = await startWorker()
    const begun = Number((await rig.redis.time())[0]) * 1_000
    for (let instance = 0; instance < 3; instance++) {
      await rig.start(schedule(sweep, { queue: rig.queue, every: 200, payload: 'x', tenantId: 'tenant-a' }))
    }
    await until(() => runs.length >= 5)
    const slots = runs.map(({ id }) => Number(id.split('-').at(-1)))
    expect(new Set(slots).size).toBe(runs.length)
    expect(slots.every((slot) => slot % 200 === 0 && slot > begun - 200)).toBe(true)
    expect(runs[0]).toMatchObject({ actor: 'schedule:default', tenantId: 'tenant-a' })
  })

  it('takes its queue from the services of the process', async () => {
    const runs = await startWorker()
    const timing = { every: 100, payload: 'x' } as const
    await rig.start(
      schedule(sweep, { queue: ({ jobs }: { jobs: Rig['queue'] }) => jobs, ...timing }),
      rig.host({ provide: { jobs: rig.queue } }),
    )
    await until(() => runs.length >= 2)
  })

  it('goes on while the clock of a process is an hour ahead, and after it was', async () => {
    const runs = await startWorker()
    vi.spyOn(Date, 'now').mockImplementation(() => realNow() + 3_600_000)
    const wrong = await rig.start(schedule(sweep, { queue: rig.queue, every: 100, payload: 'x' }))
    await until(() => runs.length >= 2)
    await wrong.close()
    vi.restoreAllMocks()
    const before = runs.length
    await rig.start(schedule(sweep, { queue: rig.queue, every: 100, payload: 'x' }))
    await until(() => runs.length >= before + 2)
    expect(runs.every(({ id }) => Number(id.split('-').at(-1)) < realNow() + 60_000)).toBe(true)
  })

  it('repairs a state that claims a slot in the future', async () => {
    const runs = await startWorker()
    const first = await rig.start(schedule(sweep, { queue: rig.queue, every: 100, payload: 'x' }))
    await until(() => runs.length >= 1)
    await first.close()
    const field = await until(() => lastField(stateOf('default')))
    await rig.redis.hset(stateOf('default'), field, realNow() + 3_600_000)
    const before = runs.length
    await rig.start(schedule(sweep, { queue: rig.queue, every: 100, payload: 'x' }))
    await until(() => runs.length >= before + 2)
  })

  it('goes on after Redis has lost everything', async () => {
    const runs = await startWorker()
    await rig.start(schedule(sweep, { queue: rig.queue, every: 100, payload: 'x' }))
    await until(() => runs.length >= 2)
    const keys = await rig.redis.keys(`${rig.queue.prefix}:*`)
    await rig.redis.del(...keys)
    const before = runs.length
    await until(() => runs.length >= before + 3)
    expect(new Set(runs.map(({ id }) => id)).size).toBe(runs.length)
  })

  it('keeps to the declaration that came last while its process runs, also when an older one starts again', async () => {
    const runs = await startWorker()
    const declare = (payload: string) => rig.start(schedule(sweep, { queue: rig.queue, every: 100, payload }))
    const old = await declare('old')
    await until(() => runs.some(({ payload }) => payload === 'old'))
    await declare('new')
    await until(() => runs.some(({ payload }) => payload === 'new'))
    await old.close()
    await declare('old')
    const before = runs.length
    await until(() => runs.length >= before + 3)
    expect(runs.slice(before + 1).map(({ payload }) => payload)).not.toContain('old')
  })

  it('keeps to the declaration that came last after Redis has lost which one that was, and health tells the other', async () => {
    const runs = await startWorker()
    const host = rig.host()
    await rig.start(schedule(sweep, { queue: rig.queue, every: 100, payload: 'old' }), host)
    await rig.start(schedule(sweep, { queue: rig.queue, every: 100, payload: 'new' }))
    const detail = async () => (await host.health.report()).checks['schedule:sweep:default']?.detail
    await until(async () => (await detail()) === 'another declaration applies', 20_000)
    await rig.redis.del(stateOf('default'))
    const seen = async () =>
      (await rig.redis.hkeys(stateOf('default'))).filter((field) => field.startsWith('seen:')).length
    await until(async () => (await seen()) === 2, 20_000)
    const before = runs.length
    await until(() => runs.length >= before + 3)
    expect(runs.slice(before + 1).map(({ payload }) => payload)).not.toContain('old')
  })

  it('does not run a slot again that it has run, though Redis is a little behind after a failover', async () => {
    const runs = await startWorker()
    await rig.start(schedule(sweep, { queue: rig.queue, every: '6h', payload: 'x' }))
    await until(() => runs.length === 1)
    const field = await until(() => lastField(stateOf('default')))
    const seenField = field.replace('last:', 'seen:')
    await until(async () => (await rig.queue.counts(sweep)).completed === 1)
    await rig.queue.bull(sweep).clean(0, 10, 'completed')
    await rig.redis.hincrby(stateOf('default'), field, -21_600_000)
    const looked = await rig.redis.hget(stateOf('default'), seenField)
    await until(async () => (await rig.redis.hget(stateOf('default'), seenField)) !== looked, 20_000)
    const lookedAt = performance.now()
    await until(() => runs.length > 1 || performance.now() - lookedAt > 1_000)
    expect(runs).toHaveLength(1)
  })

  it('makes up once for slots that were missed while nothing ran, and for none before its first start', async () => {
    const runs = await startWorker()
    const hourly = () =>
      schedule(sweep, { queue: rig.queue, cron: '0 * * * *', payload: 'x', name: 'hourly' })
    const first = await rig.start(hourly())
    const field = await until(() => lastField(stateOf('hourly')))
    await first.close()
    expect(runs).toEqual([])
    await rig.redis.hset(stateOf('hourly'), field, realNow() - 5 * 3_600_000)
    await Promise.all([rig.start(hourly()), rig.start(hourly())])
    await until(() => runs.length === 1)
    expect(Number(runs[0]?.id.split('-').at(-1)) % 3_600_000).toBe(0)
    expect(await rig.queue.counts(sweep)).toMatchObject({ waiting: 0, delayed: 0 })
  })

  it('binds each run to its slot: a copy of its envelope under another id runs nothing', async () => {
    const address = { prefix: rig.queue.prefix, job: 'sweep', id: 'schedule-default-1000' }
    const envelope = rig.queue.signer.seal(address, systemPrincipal('schedule:default'), '"x"')
    for (const jobId of ['schedule-default-2000', 'schedule-default-3000'])
      await rig.queue.bull(sweep).add('sweep', envelope, { jobId, attempts: 1 })
    const runs = await startWorker()
    await until(async () => (await rig.queue.counts(sweep)).dead === 2)
    expect(runs).toEqual([])
  })

  it.each([
    [
      'a job of users',
      () => schedule(defineJob('echo', { payload: z.string() }), { every: '1s' } as never),
      `only a job with access: 'system'`,
    ],
    ['no time', () => schedule(sweep, { payload: 'x' } as never), 'needs either every or cron'],
    [
      'two times',
      () => schedule(sweep, { every: '1s', cron: '* * * * *', payload: 'x' } as never),
      'needs either every or cron',
    ],
    ['too short a span', () => schedule(sweep, { every: 10, payload: 'x' } as never), '.every: '],
    [
      'a time zone without cron',
      () => schedule(sweep, { every: '1s', timeZone: 'UTC', payload: 'x' } as never),
      'for cron only',
    ],
    [
      'an unknown option',
      () => schedule(sweep, { evry: '1s', payload: 'x' } as never),
      'Did you mean "every"?',
    ],
    [
      'an unknown time zone',
      () => schedule(sweep, { cron: '0 3 * * *', timeZone: 'Mars/Olympus', payload: 'x' } as never),
      'not the name of a time zone',
    ],
    [
      'an expression that is none',
      () => schedule(sweep, { cron: '0 3 * *', payload: 'x' } as never),
      'not an expression of five or six fields',
    ],
    [
      'an hour that does not exist',
      () => schedule(sweep, { cron: '0 25 * * *', payload: 'x' } as never),
      'never comes',
    ],
    [
      'a day that does not exist',
      () => schedule(sweep, { cron: '0 0 30 2 *', payload: 'x' } as never),
      'never comes',
    ],
    ['no queue', () => schedule(sweep, { every: '1s', payload: 'x' } as never), 'needs a queue'],
  ])('refuses %s when it is declared', (_what, declare, message) => {
    expect(declare).toThrow(message)
  })
})

describe('slots', () => {
  const slots = (options: object) => resolveSchedule(sweep, { payload: 'x', ...options } as never).slots
  const iso = (ms: number): string => new Date(ms).toISOString()

  it('follow the time zone of a cron expression', () => {
    const nightly = slots({ cron: '30 3 * * *', timeZone: 'Europe/Berlin' })
    const now = Date.parse('2026-07-01T01:30:00.000Z')
    expect(iso(nightly.latest(now))).toBe('2026-07-01T01:30:00.000Z')
    expect(iso(nightly.latest(now - 1))).toBe('2026-06-30T01:30:00.000Z')
    expect(iso(nightly.next(now))).toBe('2026-07-02T01:30:00.000Z')
    expect(iso(slots({ cron: '30 3 * * *' }).next(now))).toBe('2026-07-01T03:30:00.000Z')
  })

  it('of a cron expression with six fields lie on seconds', () => {
    const now = Date.parse('2026-07-01T00:00:10.250Z')
    expect(iso(slots({ cron: '*/10 * * * * *' }).latest(now))).toBe('2026-07-01T00:00:10.000Z')
    expect(iso(slots({ cron: '*/10 * * * * *' }).next(now))).toBe('2026-07-01T00:00:20.000Z')
  })

  it('of a span are its multiples', () => {
    expect(slots({ every: '1m' }).latest(125_000)).toBe(120_000)
    expect(slots({ every: '1m' }).next(120_000)).toBe(180_000)
  })
})
