import { describe, expect, it } from 'vitest'
import { procedure, route, service } from '@quintet/core'
import { testUser } from '@quintet/core/testing'
import type { HttpOptions } from '../../src/index.ts'
import { sendRaw, until } from '../support/raw.ts'
import { serve, type Served } from '../support/serve.ts'

const head = 'HTTP/1.1\r\nHost: a\r\n'
const slowRequest = `POST /rpc/slow/answer ${head}Content-Length: 0\r\n\r\n`
const upgrade =
  `GET /ws ${head}Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: quintet.rpc.v1, bearer.alice\r\n\r\n'
const chunked = 'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\nzz\r\n'

/** A server with a procedure that answers a little later, once the connection has had time to read on. */
function start(options: HttpOptions = {}): Promise<Served> {
  const slow = service('slow', {
    answer: procedure({ access: 'public' }, async () => {
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
      return { late: true }
    }),
  })
  const upload = route({
    method: 'POST',
    pattern: '/upload',
    access: 'public',
    handler: async (request) => new Response(await request.text()),
  })
  return serve(options, { services: [slow], routes: [upload], tokens: { alice: testUser() } })
}

const statuses = (answer: string): string[] =>
  [...answer.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status = '']) => status)

describe('requests that come together on one connection', () => {
  it.each([
    ['garbage', 'no HTTP at all\r\n\r\n', '400'],
    ['headers that are too large', `GET / ${head}X: ${'x'.repeat(20_000)}\r\n\r\n`, '431'],
    ['CONNECT', `CONNECT a:443 ${head}\r\n`, '501'],
    ['a body in bad chunks', `POST /rpc/slow/answer ${head}${chunked}`, '400'],
    ['a body of a route in bad chunks', `POST /upload ${head}${chunked}`, '400'],
  ])('are answered in order, then %s is refused, then the connection ends', async (_what, bytes, status) => {
    await using app = await start()
    const answer = await sendRaw(app.url, slowRequest + slowRequest + bytes)
    expect(statuses(answer)).toEqual(['200', '200', status])
    expect(answer.slice(answer.lastIndexOf('HTTP/1.1')).toLowerCase()).toContain('connection: close')
    await until(() => app.host.pipeline.active === 0)
  })

  it('are answered before the connection becomes a WebSocket', async () => {
    await using app = await start({ websocket: { access: 'public' } })
    const answer = await sendRaw(app.url, slowRequest + upgrade, /HTTP\/1\.1 101/)
    expect(statuses(answer)).toEqual(['200', '101'])
  })

  it('get 408 after their answers when the next head does not come to its end', async () => {
    await using app = await start({ headersTimeout: 100 })
    expect(statuses(await sendRaw(app.url, `${slowRequest}GET / HTTP/1.1\r\nHos`))).toEqual(['200', '408'])
  })
})
