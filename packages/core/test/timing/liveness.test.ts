import { once } from 'node:events'
import { MessageChannel } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { createLiveness, delay } from '../../src/kit.ts'

/** A connection whose other side answers each ping, in a later turn of the event loop. */
function connection(answers: boolean, interval = 5, timeout = 20) {
  const { port1, port2 } = new MessageChannel()
  const lost = Promise.withResolvers<void>()
  let pings = 0
  port2.on('message', () => {
    if (answers) port2.postMessage('pong')
  })
  const liveness = createLiveness({
    interval,
    timeout,
    ping: () => {
      pings++
      port1.postMessage('ping')
    },
    onLost: () => lost.resolve(),
  })
  port1.on('message', () => liveness.heard())
  return {
    port: port1,
    lost: lost.promise,
    get pings() {
      return pings
    },
    close() {
      liveness.stop()
      port1.close()
    },
  }
}

describe('createLiveness', () => {
  it('gives up a side that answers to no ping', async () => {
    const silent = connection(false)
    await silent.lost
    expect(silent.pings).toBe(1)
    silent.close()
  })

  it('goes on with one that answers, also after the process itself stood still past the time for the answer', async () => {
    const living = connection(true)
    let isLost = false
    void living.lost.then(() => (isLost = true))
    for (let round = 0; round < 3; round++) {
      await once(living.port, 'message')
      const until = performance.now() + 60
      while (performance.now() < until);
    }
    await once(living.port, 'message')
    expect(isLost).toBe(false)
    living.close()
  })

  it('asks nothing with an interval of 0, and nothing more after it was stopped', async () => {
    const never = connection(false, 0)
    const stopped = connection(false, 5)
    stopped.close()
    await delay(40)
    expect([never.pings, stopped.pings]).toEqual([0, 0])
    never.close()
  })
})
