import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import type { Gateway } from '../../src/index.ts'
import { appRoute, startGateway } from '../support/gateway.ts'
import { rememberLines } from '../support/log.ts'
import { exchangeRaw, startRawServer, type RawServer } from '../support/raw.ts'

const answer = (headers = '', body = 'ok'): string =>
  `HTTP/1.1 200 OK\r\n${headers}content-length: 2\r\n\r\n${body}`

/** Answers each request of a connection with the text for its number, counted over all connections. */
function startAnswering(answers: (index: number) => string): Promise<RawServer> {
  let asked = 0
  const ends = new WeakMap<Socket, number>()
  return startRawServer((socket, received) => {
    const count = received.split('\r\n\r\n').length - 1
    for (let seen = ends.get(socket) ?? 0; seen < count; seen++) socket.write(answers(asked++))
    ends.set(socket, count)
  })
}

/** How many connections two requests in a row take. */
async function connectionsFor(answers: (index: number) => string, init: RequestInit = {}): Promise<number> {
  await using upstream = await startAnswering(answers)
  await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
  for (let index = 0; index < 2; index++) {
    const response = await fetch(`${gateway.url}/api/app/`, init)
    expect(response.status).toBe(200)
    await response.text()
  }
  return upstream.connections.length
}

describe('a connection to an upstream', () => {
  it('carries the next request', async () => {
    expect(await connectionsFor(() => answer())).toBe(1)
    expect(await connectionsFor(() => answer('keep-alive: timeout=5\r\n'))).toBe(1)
  })

  it.each([
    ['closes it', 'connection: close\r\n'],
    ['keeps it too shortly', 'keep-alive: timeout=2\r\n'],
  ])('is not used again where the upstream %s', async (_why, headers) => {
    expect(await connectionsFor(() => answer(headers))).toBe(2)
  })

  it.each([
    ['HEAD', answer('', ''), 200, { method: 'HEAD' }],
    ['304 with a length', 'HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n', 304, {}],
  ])('is used again behind %s, once it has rested', async (_what, text, status, init) => {
    await using upstream = await startAnswering(() => text)
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const ask = async (): Promise<void> => {
      expect((await fetch(`${gateway.url}/api/app/`, init)).status).toBe(status)
    }
    for (let index = 0; index < 20; index++) await ask()
    await delay(400)
    const open = upstream.connections.length
    await Promise.all(Array.from({ length: open }, ask))
    expect(upstream.connections).toHaveLength(open)
    expect(upstream.connections.every((socket) => !socket.destroyed)).toBe(true)
  })

  it('is not used again behind HEAD at a server that has sent a body with it before', async () => {
    let sent = false
    await using upstream = await startAnswering((index) => {
      if (index > 0) return answer('', '')
      const [socket] = upstream.connections
      setImmediate(() => {
        socket?.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil')
        sent = true
      })
      return answer('', '')
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    await fetch(`${gateway.url}/api/app/`, { method: 'HEAD' })
    await until(() => sent && upstream.connections[0]?.destroyed === true)
    await fetch(`${gateway.url}/api/app/`, { method: 'HEAD' })
    await until(() => upstream.connections[1]?.destroyed === true)
  })

  it.each([
    ['with the answer', answer('', 'okHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil')],
    ['behind 204', 'HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil'],
  ])('is not used again where more has come than was asked for: %s', async (_where, first) => {
    await using upstream = await startAnswering((index) => (index === 0 ? first : answer()))
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    await (await fetch(`${gateway.url}/api/app/`)).text()
    expect(await (await fetch(`${gateway.url}/api/app/`)).text()).toBe('ok')
    expect(upstream.connections).toHaveLength(2)
  })

  it('is closed where something comes that was not asked for at all', async () => {
    await using upstream = await startAnswering(() => answer())
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    await (await fetch(`${gateway.url}/api/app/`)).text()
    upstream.connections[0]?.write(answer('', 'no'))
    await until(() => upstream.connections[0]?.destroyed === true)
    expect(await (await fetch(`${gateway.url}/api/app/`)).text()).toBe('ok')
    expect(upstream.connections).toHaveLength(2)
  })

  it('is closed when it has waited for longer than it is kept', async () => {
    await using upstream = await startAnswering(() => answer())
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url])],
      timeouts: { upstreamKeepAlive: 50, idle: 400 },
    })
    await (await fetch(`${gateway.url}/api/app/`)).text()
    await until(() => upstream.connections[0]?.destroyed === true)
  })

  it('is closed with the gateway', async () => {
    await using upstream = await startAnswering(() => answer())
    const gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    await (await fetch(`${gateway.url}/api/app/`)).text()
    await gateway.close()
    await until(() => upstream.connections[0]?.destroyed === true)
  })
})

interface ForgetfulServer extends RawServer {
  /** From now on a connection that is open is answered with a reset, as by a NAT or a load balancer that has forgotten it. */
  forget(): void
}

async function startForgetful(): Promise<ForgetfulServer> {
  let generation = 0
  const born = new WeakMap<Socket, number>()
  const server = await startRawServer((socket, received) => {
    if (!born.has(socket)) born.set(socket, generation)
    if (born.get(socket) !== generation) return void socket.resetAndDestroy()
    const handshake = /upgrade: websocket/i.test(received)
    const switched = 'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n'
    socket.write(handshake ? switched : answer('keep-alive: timeout=60\r\n'))
  })
  return Object.assign(server, { forget: () => void (generation += 1) })
}

describe('a connection that was lost while it waited', () => {
  const isEjected = (gateway: Gateway): boolean | undefined =>
    gateway.status().routes[0]?.upstreams.some(({ ejected }) => ejected)

  /** Leaves this many connections waiting, and has them all forgotten. */
  async function loseConnections(gateway: Gateway, upstream: ForgetfulServer, count = 10): Promise<void> {
    const answers = Array.from({ length: count }, () => fetch(`${gateway.url}/api/app/`))
    for (const response of await Promise.all(answers)) await response.text()
    upstream.forget()
  }

  it('costs what can be sent again nothing, not even an attempt', async () => {
    await using upstream = await startForgetful()
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url])],
      retries: { budget: 0 },
      ejection: { failures: 1 },
    })
    for (let round = 0; round < 3; round++) {
      await loseConnections(gateway, upstream)
      const before = upstream.connections.length
      for (let index = 0; index < 15; index++)
        expect(await (await fetch(`${gateway.url}/api/app/`)).text()).toBe('ok')
      expect(upstream.connections).toHaveLength(before + 1)
    }
    expect(gateway.settled.every(({ attempts }) => attempts === 1)).toBe(true)
  })

  it('costs one request that cannot, and takes those beside it along', async () => {
    await using upstream = await startForgetful()
    await using other = await startForgetful()
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url, other.url])],
      ejection: { failures: 2 },
    })
    await loseConnections(gateway, upstream)
    const statuses: number[] = []
    for (let index = 0; index < 20; index++)
      statuses.push((await fetch(`${gateway.url}/api/app/`, { method: 'POST' })).status)
    expect(statuses.filter((status) => status !== 200)).toEqual([502])
    expect(isEjected(gateway)).toBe(false)
  })

  it('carries nothing that cannot be sent again once it has waited for a second', async () => {
    await using upstream = await startForgetful()
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    await loseConnections(gateway, upstream)
    await delay(1_100)
    expect((await fetch(`${gateway.url}/api/app/`, { method: 'POST', body: 'x' })).status).toBe(200)
  })

  it('carries no WebSocket handshake', async () => {
    await using upstream = await startForgetful()
    await using gateway = await startGateway({ routes: [appRoute([upstream.url], { websocket: true })] })
    await loseConnections(gateway, upstream)
    const handshake =
      'GET /api/app/ HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    for (let index = 0; index < 5; index++)
      expect(await exchangeRaw(gateway.url, handshake, (text) => text.includes('\r\n\r\n'))).toMatch(/ 101 /)
  })

  it('does not fail the probe of its upstream', async () => {
    await using upstream = await startForgetful()
    await using other = await startForgetful()
    const { logger, lines } = rememberLines()
    await using gateway = await startGateway({
      logger,
      routes: [appRoute([upstream.url, other.url])],
      probes: { interval: 20, timeout: '5s' },
    })
    await loseConnections(gateway, upstream)
    other.forget()
    const asked = upstream.received.length
    await until(() => upstream.received.length > asked + 1_000)
    expect(lines.filter(({ message }) => message.includes('readiness'))).toEqual([])
  })

  it('fails where nothing is to be sent again', async () => {
    await using upstream = await startForgetful()
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])], retries: false })
    await loseConnections(gateway, upstream)
    expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(502)
  })
})

describe('a request that is in progress when the gateway closes', () => {
  it('is sent to no other upstream', async () => {
    await using first = await startRawServer(() => undefined)
    await using second = await startRawServer(() => undefined)
    const gateway = await startGateway({ routes: [appRoute([first.url, second.url])] })
    const asked = fetch(`${gateway.url}/api/app/`).catch(() => undefined)
    await until(() => (first.received + second.received).length > 0)
    await gateway.close()
    await asked
    expect(gateway.settled).toMatchObject([{ outcome: 'aborted', attempts: 1 }])
    expect(first.connections.length + second.connections.length).toBe(1)
  })
})

describe('an interim answer', () => {
  it('of 100 that was not asked for passes no one, and the answer behind it does', async () => {
    await using upstream = await startAnswering(
      () => `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n${answer()}`,
    )
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    for (const method of ['GET', 'POST']) {
      const response = await fetch(`${gateway.url}/api/app/`, { method })
      expect([response.status, await response.text()]).toEqual([200, 'ok'])
    }
    expect(upstream.connections).toHaveLength(1)
  })

  it('of 101 that was not asked for is none', async () => {
    await using upstream = await startAnswering(
      () => 'HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n',
    )
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])], retries: false })
    expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(502)
  })
})

describe('an answer that stands still', () => {
  it('is broken off after the idle limit', async () => {
    await using upstream = await startRawServer((socket) =>
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha'),
    )
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])], timeouts: { idle: 200 } })
    const response = await fetch(`${gateway.url}/api/app/`)
    await expect(response.text()).rejects.toThrow()
    await until(() => gateway.settled.length === 1)
    expect(gateway.settled[0]?.outcome).toBe('ERR_GATEWAY_UPSTREAM_TIMEOUT')
    await until(() => upstream.connections[0]?.destroyed === true)
  })
})
