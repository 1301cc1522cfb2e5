import { describe, expect, it } from 'vitest'
import { createHealthChecks } from '../../src/kit.ts'
import type { HealthReport } from '../../src/index.ts'

describe('createHealthChecks', () => {
  it('passes, warns or fails with the worst of its checks', async () => {
    const fine = { name: 'fine', check: async () => 'ready' }
    const optional = { name: 'optional', critical: false, check: () => Promise.reject(new Error('slow')) }
    const broken = { name: 'broken', check: () => Promise.reject(new Error('connect ECONNREFUSED')) }
    expect(await createHealthChecks({ checks: [fine] }).report()).toMatchObject({
      status: 'pass',
      checks: { fine: { status: 'pass', detail: 'ready' } },
    })
    expect(await createHealthChecks({ checks: [fine, optional] }).report()).toMatchObject({
      status: 'warn',
      checks: { optional: { status: 'warn', detail: 'slow' } },
    })
    expect(await createHealthChecks({ checks: [fine, optional, broken] }).report()).toMatchObject({
      status: 'fail',
      checks: { broken: { status: 'fail', detail: 'connect ECONNREFUSED' } },
    })
    expect((await createHealthChecks().report()).status).toBe('pass')
  })

  it('is not ready after it has begun to stop, also when the start ends later', () => {
    const health = createHealthChecks()
    health.stopAccepting()
    health.markStarted()
    expect(health.started).toBe(true)
    expect(health.accepting).toBe(false)
  })

  it('gives up on a check after its timeout, and aborts its signal', async () => {
    let signal: AbortSignal | undefined
    const health = createHealthChecks({
      checks: [
        {
          name: 'hangs',
          timeout: 10,
          check: (given) => {
            signal = given
            return new Promise(() => {})
          },
        },
      ],
    })
    expect(await health.report()).toMatchObject({
      status: 'fail',
      checks: { hangs: { detail: 'no answer within 10 ms' } },
    })
    expect(signal?.aborted).toBe(true)
  })

  it('runs the checks once for all who ask at once, and keeps the answer for a second', async () => {
    let now = 0
    let runs = 0
    const health = createHealthChecks({ clock: { now: () => now, monotonic: () => now } })
    health.add({ name: 'counted', check: async () => void runs++ })
    await Promise.all([health.report(), health.report(), health.report()])
    now = 999
    await health.report()
    expect(runs).toBe(1)
    now = 1_000
    await health.report()
    expect(runs).toBe(2)
  })

  it('asks a check that hangs once, and does not wait for it again', async () => {
    let now = 0
    let asked = 0
    let answer: () => void = () => undefined
    const health = createHealthChecks({ clock: { now: () => now, monotonic: () => now } })
    health.add({
      name: 'hangs',
      timeout: 10,
      check() {
        asked += 1
        return asked > 1 ? Promise.resolve() : new Promise<void>((resolve) => (answer = resolve))
      },
    })
    await health.report()
    now = 1_000
    expect((await health.report()).checks['hangs']).toMatchObject({
      status: 'fail',
      detail: 'the check before has not ended',
    })
    expect(asked).toBe(1)
    answer()
    await new Promise((resolve) => setImmediate(resolve))
    now = 2_000
    expect((await health.report()).status).toBe('pass')
  })

  it('takes a duration, and refuses what makes no check', () => {
    const check = async (): Promise<void> => undefined
    expect(() => createHealthChecks({ checks: [{ name: 'a', timeout: '5s', check }] })).not.toThrow()
    const add = (given: object) => () => createHealthChecks({ checks: [given as never] })
    expect(add({ check })).toThrow('health check.name: is missing')
    expect(add({ name: 'a' })).toThrow('health check.check: is missing')
    expect(add({ name: 'a', check, critical: 'no' })).toThrow('health check.critical')
    expect(add({ name: 'a', check, timout: 1 })).toThrow('Did you mean "timeout"?')
  })

  it('asks again when a check is added', async () => {
    const health = createHealthChecks()
    await health.report()
    health.add({ name: 'late', check: () => Promise.reject(new Error('no')) })
    expect((await health.report()).status).toBe('fail')
    expect(() => health.add({ name: 'late', check: async () => {} })).toThrow('two checks named "late"')
  })

  it('counts a check that throws at once as failed', async () => {
    const health = createHealthChecks()
    health.add({
      name: 'throws',
      check() {
        throw new Error('at once')
      },
    })
    expect((await health.report()).checks['throws']).toMatchObject({ status: 'fail', detail: 'at once' })
  })

  it('fails, and says so, when onReport rejects', async () => {
    const onReport = (): Promise<HealthReport> => Promise.reject(new Error('hook is broken'))
    expect(await createHealthChecks({ onReport }).report()).toMatchObject({
      status: 'fail',
      checks: { onHealthCheck: { status: 'fail', detail: 'hook is broken' } },
    })
  })

  it('accepts from its start until it stops', () => {
    const health = createHealthChecks()
    expect([health.started, health.accepting]).toEqual([false, false])
    health.markStarted()
    expect([health.started, health.accepting]).toEqual([true, true])
    health.stopAccepting()
    expect([health.started, health.accepting]).toEqual([true, false])
  })
})
