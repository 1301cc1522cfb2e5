import { describe, expect, expectTypeOf, it } from 'vitest'
import type { SystemPrincipal, UserPrincipal } from '@quintet/core'
import { z } from 'zod'
import { defineJob, jobDefaults, worker, type JobCall } from '../../src/index.ts'
import { pauseAfter } from '../../src/jobs/define-job.ts'

const payload = z.object({ n: z.number() })

describe('defineJob', () => {
  it('fills in what is not said', () => {
    expect(defineJob('count', { payload })).toMatchObject({
      name: 'count',
      attempts: 5,
      backoff: { min: 1_000, max: 300_000 },
      retention: { completed: 86_400_000, dead: 2_592_000_000, maxCompleted: 10_000 },
      maxAge: 604_800_000,
      maxPayloadSize: 262_144,
      description: '',
      operation: { surface: 'job', name: 'job:count', access: 'authenticated', timeout: 60_000 },
    })
    expect(jobDefaults.timeout).toBe('60s')
  })

  it('takes a pause and a retention as a span or in detail', () => {
    expect(defineJob('a', { payload, backoff: '2s', retention: '1h' })).toMatchObject({
      backoff: { min: 2_000, max: 300_000 },
      retention: { completed: 3_600_000 },
    })
    expect(
      defineJob('a', { payload, backoff: { min: 10, max: 20 }, retention: { dead: 0, maxCompleted: 5 } }),
    ).toMatchObject({
      backoff: { min: 10, max: 20 },
      retention: { completed: 86_400_000, dead: 0, maxCompleted: 5 },
    })
  })

  it.each([
    ['a name that a surface cannot carry', () => defineJob('no:name', { payload }), 'the name "no:name"'],
    [
      'a payload that is no schema',
      () => defineJob('a', { payload: {} as never }),
      'is not a Standard Schema',
    ],
    ['an unknown option', () => defineJob('a', { payload, atempts: 3 } as never), 'Did you mean "attempts"?'],
    [
      'an unknown access rule',
      () => defineJob('a', { payload, access: 'anyone' as never }),
      'is no access rule',
    ],
    [
      'a text of attempts',
      () => defineJob('a', { payload, attempts: '5' as never }),
      '"5" is not a positive',
    ],
    ['no attempt', () => defineJob('a', { payload, attempts: 0 }), 'not a positive whole number'],
    [
      'a longest pause below the shortest',
      () => defineJob('a', { payload, backoff: { min: 10, max: 5 } }),
      'max is shorter than min',
    ],
    [
      'an unknown part of the pause',
      () => defineJob('a', { payload, backoff: { mn: 1 } as never }),
      'unknown key "mn"',
    ],
    [
      'a negative number to keep',
      () => defineJob('a', { payload, retention: { maxCompleted: -1 } }),
      'not a whole number',
    ],
  ])('refuses %s', (_what, define, message) => {
    expect(define).toThrow(message)
  })

  it('gives a handler the types of the payload and of who it runs for', () => {
    const forUser = defineJob('user', { payload })
    const forSystem = defineJob('system', { payload, access: 'system' })
    expectTypeOf<JobCall<typeof forUser>['payload']>().toEqualTypeOf<{ n: number }>()
    expectTypeOf<JobCall<typeof forUser>['principal']>().toEqualTypeOf<UserPrincipal>()
    expectTypeOf<JobCall<typeof forSystem>['principal']>().toEqualTypeOf<SystemPrincipal>()
  })
})

describe('pauseAfter', () => {
  it('doubles from the shortest to the longest, within the upper half', () => {
    for (let attempt = 1; attempt < 60; attempt++) {
      const full = Math.min(1_000, 100 * 2 ** (attempt - 1))
      const pause = pauseAfter(attempt, { min: 100, max: 1_000 })
      expect(pause).toBeGreaterThanOrEqual(full / 2)
      expect(pause).toBeLessThanOrEqual(full)
    }
  })
})

it.each(['tenants', 1])('refuses the fairness %j', (fairness) => {
  expect(() => defineJob('a', { payload, fairness } as never)).toThrow(/fairness/)
})

describe('worker', () => {
  const job = defineJob('a', { payload })
  it.each([
    ['no queue', {}, 'needs a queue'],
    ['an unknown option', { queue: {}, concurency: 1 }, 'Did you mean "concurrency"?'],
    ['no place', { queue: {}, concurrency: 0 }, '.concurrency: '],
    ['a lock that is too short', { queue: {}, lockDuration: 10 }, '.lockDuration: '],
  ])('refuses %s', (_what, options, message) => {
    expect(() => worker(job, options as never, () => undefined)).toThrow(message)
  })
})
