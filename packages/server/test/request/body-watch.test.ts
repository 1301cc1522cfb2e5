import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { createBodyWatch } from '../../src/request/body-watch.ts'

const request = { readableLength: 0, readableHighWaterMark: 1 } as IncomingMessage

/** The process does nothing else for a while, as one that was stopped or computes. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('a body that is being sent', () => {
  it('is not late because the process itself stood still', async () => {
    const bodies = createBodyWatch(400)
    const late: string[] = []
    const pace = bodies.watch(request, { total: 0, still: 400, pace: 0 }, () => void late.push('still'))
    const whole = bodies.watch(request, { total: 400, still: 0, pace: 0 }, () => void late.push('total'))
    standStill(1_500)
    // What has arrived meanwhile is read after the timers of this turn.
    await wait(120)
    expect(late).toEqual([])
    pace.unwatch()
    whole.unwatch()
    bodies.close()
  })

  it('is late when it stands still itself, also after such a pause', async () => {
    const bodies = createBodyWatch(100)
    const late = Promise.withResolvers<void>()
    bodies.watch(request, { total: 0, still: 100, pace: 0 }, late.resolve)
    standStill(300)
    await late.promise
    bodies.close()
  })
})
