import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { procedure, service } from '@quintet/core'
import { z } from 'zod'
import { until } from '../support/raw.ts'
import { serve } from '../support/serve.ts'

const text = 'x'.repeat(100_000)
let sent = 0
const flood = service('flood', {
  events: procedure({ access: 'public', stream: z.object({ text: z.string() }) }, async function* () {
    for (;;) {
      sent++
      yield { text }
    }
  }),
})
const request = 'POST /rpc/flood/events HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n'

describe('an event stream', () => {
  it('leaves no listener behind when its client falls behind', async () => {
    let response: ServerResponse | undefined
    const watch = {
      start() {},
      handle: (_request: unknown, given: ServerResponse) => {
        response = given
        return false
      },
    }
    await using app = await serve({ plugins: [watch as never] }, { services: [flood] })
    const socket = connect(Number(new URL(app.url).port))
    socket.write(request)
    let received = 0
    socket.on('data', (chunk: Buffer) => (received += chunk.length))
    await until(() => received > 30_000_000, 20_000)
    for (const event of ['close', 'error', 'drain'])
      expect(response?.listenerCount(event)).toBeLessThanOrEqual(5)
    socket.destroy()
    await until(() => app.host.pipeline.active === 0)
  })

  it('whose client does not read ends at a drain, well before its deadline', async () => {
    sent = 0
    await using app = await serve({}, { services: [flood] })
    const socket = connect(Number(new URL(app.url).port))
    await once(socket, 'connect')
    socket.pause()
    socket.write(request)
    let last = -1
    await until(() => {
      const still = sent > 0 && sent === last
      last = sent
      return still
    })
    const signal = AbortSignal.timeout(30_000)
    await app.running.drain('deployment', signal)
    expect([signal.aborted, app.host.pipeline.active]).toEqual([false, 0])
    socket.destroy()
  })
})
