import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { TimeLimit, type Timed } from '../../src/timing/time-limit.ts'

interface Recorded extends Timed {
  readonly name: string
  readonly startedAt: number
  endedAt: number | undefined
}

function timed(name: string, ended: string[] = []): Recorded {
  const entry: Recorded = {
    name,
    startedAt: performance.now(),
    endedAt: undefined,
    dueAt: 0,
    earlier: undefined,
    later: undefined,
    onDue() {
      entry.endedAt = performance.now()
      ended.push(name)
    },
  }
  return entry
}

const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))

describe('a time limit', () => {
  it('ends each in its turn, none before its time', async () => {
    const limit = new TimeLimit(40, systemClock)
    const ended: string[] = []
    const early = timed('early', ended)
    limit.add(early, performance.now())
    await pause(20)
    const late = timed('late', ended)
    limit.add(late, performance.now())
    await expect.poll(() => ended).toEqual(['early', 'late'])
    for (const { startedAt, endedAt = 0 } of [early, late])
      expect(endedAt - startedAt).toBeGreaterThanOrEqual(39)
  })

  it('lets go of those that were over in time: the first, the last and one between', async () => {
    const limit = new TimeLimit(20, systemClock)
    const ended: string[] = []
    const all = ['a', 'b', 'c', 'd', 'e'].map((name) => timed(name, ended))
    for (const entry of all) limit.add(entry, performance.now())
    for (const index of [0, 2, 4]) {
      const entry = all[index]
      if (entry !== undefined) limit.delete(entry)
    }
    await expect.poll(() => ended).toEqual(['b', 'd'])
    await pause(40)
    expect(ended).toEqual(['b', 'd'])
  })

  it('needs one timer for all, and keeps the process alive only while there is something to end', () => {
    const before = timers()
    const limit = new TimeLimit(60_000, systemClock)
    const all = Array.from({ length: 1_000 }, (_, index) => timed(String(index)))
    for (const entry of all) limit.add(entry, performance.now())
    expect(timers()).toBe(before + 1)
    for (const entry of all) limit.delete(entry)
    expect(timers()).toBe(before)
    const again = timed('again')
    limit.add(again, performance.now())
    expect(timers()).toBe(before + 1)
    limit.delete(again)
    expect(timers()).toBe(before)
  })

  it('goes on when one that is due adds another', async () => {
    const limit = new TimeLimit(10, systemClock)
    const ended: string[] = []
    const second = timed('second', ended)
    const first = timed('first', ended)
    first.onDue = () => {
      ended.push('first')
      limit.add(second, performance.now())
    }
    limit.add(first, performance.now())
    await expect.poll(() => ended).toEqual(['first', 'second'])
  })
})
