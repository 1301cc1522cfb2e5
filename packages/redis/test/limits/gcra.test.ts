import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { gcra, runGcra } from '../../src/limits/gcra.ts'
import { plainClient, uniquePrefix } from '../support/servers.ts'

const limits = fc.record({
  interval: fc.integer({ min: 1, max: 10_000_000 }),
  burst: fc.integer({ min: 1, max: 50 }),
})
const steps = fc.array(
  fc.record({ pause: fc.integer({ min: 0, max: 20_000_000 }), cost: fc.integer({ min: 0, max: 5 }) }),
  {
    maxLength: 60,
  },
)

describe('gcra', () => {
  it('never lets more pass in any time span than the burst plus what came back in it', () => {
    fc.assert(
      fc.property(limits, steps, (limit, calls) => {
        let now = 1_000_000
        let stored: number | undefined
        const passed: { at: number; cost: number }[] = []
        for (const { pause, cost } of calls) {
          now += pause
          const outcome = gcra(limit, cost, now, stored)
          stored = outcome.arrival
          if (outcome.allowed) passed.push({ at: now, cost })
        }
        for (const [from, first] of passed.entries()) {
          let spent = 0
          for (const { at, cost } of passed.slice(from)) {
            spent += cost
            expect(spent).toBeLessThanOrEqual(limit.burst + (at - first.at) / limit.interval)
          }
        }
      }),
    )
  })

  it('agrees with a token bucket that counts fractions of units', () => {
    fc.assert(
      fc.property(limits, steps, (limit, calls) => {
        // Filled in intervals: a unit is `interval` parts, one part comes back per microsecond.
        const full = limit.burst * limit.interval
        let parts = full
        let now = 1_000_000
        let stored: number | undefined
        for (const { pause, cost } of calls) {
          now += pause
          parts = Math.min(full, parts + pause)
          const outcome = gcra(limit, cost, now, stored)
          stored = outcome.arrival
          const allowed = cost * limit.interval <= parts
          if (allowed) parts -= cost * limit.interval
          expect(outcome).toMatchObject({
            allowed,
            remaining: Math.floor(parts / limit.interval),
            retryAfter: allowed ? 0 : cost * limit.interval - parts,
            resetAfter: full - parts,
          })
        }
      }),
    )
  })

  it('allows a refused call exactly after retryAfter, and not a microsecond earlier', () => {
    fc.assert(
      fc.property(limits, fc.integer({ min: 1, max: 50 }), (limit, cost) => {
        fc.pre(cost <= limit.burst)
        const now = 5_000_000
        const spent = gcra(limit, limit.burst, now, undefined).arrival
        const refused = gcra(limit, cost, now, spent)
        expect(refused.allowed).toBe(false)
        expect(gcra(limit, cost, now + refused.retryAfter, spent).allowed).toBe(true)
        expect(gcra(limit, cost, now + refused.retryAfter - 1, spent).allowed).toBe(false)
      }),
    )
  })

  it('forgives what lies further ahead than one window, as after a smaller limit or a clock that was put back', () => {
    const limit = { interval: 1_000, burst: 10 }
    expect(gcra(limit, 1, 0, 1e15)).toMatchObject({ allowed: false, remaining: 0, retryAfter: 1_000 })
  })
})

describe('the script', () => {
  const client = plainClient()
  beforeAll(() => client.ping())
  afterAll(() => void client.disconnect())

  it('decides exactly as the function does for the time that the server saw', async () => {
    const slowLimits = fc.record({
      interval: fc.integer({ min: 30_000_000, max: 60_000_000 }),
      burst: fc.integer({ min: 1, max: 9 }),
    })
    await fc.assert(
      fc.asyncProperty(
        slowLimits,
        fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 12 }),
        async (limit, costs) => {
          const key = `${uniquePrefix()}gcra`
          // Spend something first, so that a time is stored from which every answer tells the server's clock.
          await runGcra(client, [key], [limit.interval, limit.burst, 1])
          let stored = Number(await client.get(key))
          for (const cost of costs) {
            const answer = (await runGcra(client, [key], [limit.interval, limit.burst, cost])) as number[]
            const before = stored
            stored = Number(await client.get(key))
            const now = stored - (answer[3] ?? 0)
            const expected = gcra(limit, cost, now, before)
            expect({ answer, stored }).toEqual({
              answer: [
                Number(expected.allowed),
                expected.remaining,
                expected.retryAfter,
                expected.resetAfter,
              ],
              stored: expected.arrival,
            })
          }
          await client.del(key)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('lets exactly the burst pass from 200 callers at once', async () => {
    const key = `${uniquePrefix()}burst`
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => runGcra(client, [key], [60_000_000, 20, 1]) as Promise<number[]>),
    )
    expect(answers.filter(([allowed]) => allowed === 1)).toHaveLength(20)
    expect(await client.pttl(key)).toBeLessThanOrEqual(20 * 60_000)
    await client.del(key)
  })

  it('stores whole microseconds without rounding', async () => {
    const key = `${uniquePrefix()}exact`
    const [, , , first] = (await runGcra(client, [key], [333_333, 10, 1])) as number[]
    expect(first).toBe(333_333)
    expect(await client.get(key)).toMatch(/^\d{16}$/)
    await client.del(key)
  })
})
