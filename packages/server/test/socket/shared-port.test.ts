import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, httpLink, socketLink } from '../../src/client.ts'
import { http, type HttpOptions } from '../../src/index.ts'
import { handshake } from '../support/handshake.ts'
import { sendRaw } from '../support/raw.ts'
import { serve, type math } from '../support/serve.ts'

const alice = { authorization: 'Bearer alice' }

async function connect(url: string): Promise<{ socket: WebSocket; closed: Promise<[number, string]> }> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, 'quintet.rpc.v1', { headers: alice })
  const closed = new Promise<[number, string]>((resolve) =>
    socket.on('close', (code, reason) => resolve([code, reason.toString()])),
  )
  await once(socket, 'open')
  return { socket, closed }
}

const shared: HttpOptions = { websocket: {} }

describe('http({ websocket })', () => {
  it('answers calls over HTTP and over WebSocket on one port', async () => {
    await using app = await serve(shared)
    const overHttp = createClient<typeof math>(httpLink({ url: app.url, token: 'alice' }))
    await using link = socketLink({ url: `${app.url.replace('http', 'ws')}/ws`, token: 'alice' })
    const overSocket = createClient<typeof math>(link)
    expect(await overHttp.math.add({ a: 1, b: 2 })).toEqual({ sum: 3 })
    expect(await overSocket.math.add({ a: 1, b: 2 })).toEqual({ sum: 3 })
    expect(await overSocket.math.mine()).toBe('alice')
  })

  it('names the ways in of its connections', () => {
    const names = http({ ...shared, openapi: false }).operations?.map(({ name }) => name)
    expect(names).toEqual(['websocket connect'])
    expect(http({ websocket: false, openapi: false }).operations).toEqual([])
  })

  it('refuses in plain HTTP whom it does not let in, and serves the others on', async () => {
    await using app = await serve({ websocket: { origins: ['https://app.example'], path: '/live' } })
    const url = `${app.url.replace('http', 'ws')}/live`
    expect((await handshake(url, {})).status).toBe(401)
    expect((await handshake(url, { ...alice, origin: 'https://evil.example' })).status).toBe(403)
    expect((await handshake(`${url}/deeper`, alice)).status).toBe(404)
    expect((await handshake(url, { ...alice, origin: 'https://app.example' })).status).toBe(101)
    expect((await app.post('/rpc/math/nothing')).status).toBe(204)
  })

  it('answers a request that offers another protocol as if it offered none', async () => {
    for (const options of [shared, {}]) {
      await using app = await serve(options)
      const answer = await sendRaw(
        app.url,
        'POST /rpc/math/nothing HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n' +
          'HTTP2-Settings: AAMAAABk\r\nContent-Length: 0\r\n\r\n',
        /\r\n\r\n/,
      )
      expect(answer).toMatch(/^HTTP\/1\.1 204 /)
    }
  })

  it('without it answers a handshake as any request', async () => {
    await using app = await serve()
    expect((await handshake(`${app.url.replace('http', 'ws')}/ws`, alice)).status).toBe(404)
  })

  it('tells connections of a stop, and waits for the calls of both', async () => {
    await using app = await serve(shared)
    const { socket, closed } = await connect(app.url)
    const told = once(socket, 'message')
    const idle = await fetch(`${app.url}/rpc/math/nothing`, { method: 'POST' })
    expect(idle.status).toBe(204)
    await app.running.drain('deployment', AbortSignal.timeout(5_000))
    const [data] = (await told) as [Buffer]
    expect(JSON.parse(data.toString())).toMatchObject({ type: 'shutdown', reason: 'deployment' })
    expect(await closed).toEqual([1001, 'deployment'])
    await expect(fetch(`${app.url}/rpc/math/nothing`, { method: 'POST' })).rejects.toThrow()
  })

  it('ends connections at once when it is closed', async () => {
    await using app = await serve(shared)
    const { closed } = await connect(app.url)
    await app.running.close()
    expect((await closed)[0]).toBe(1006)
  })

  it('counts connections among those of the server', async () => {
    await using app = await serve({ ...shared, maxConnections: 1 })
    const { socket } = await connect(app.url)
    await expect(fetch(`${app.url}/rpc/math/nothing`, { method: 'POST' })).rejects.toThrow()
    socket.terminate()
  })
})
