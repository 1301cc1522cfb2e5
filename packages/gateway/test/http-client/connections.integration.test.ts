import type { Socket } from 'node:net'
import { until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { appRoute, startGateway } from '../support/gateway.ts'
import { startRawServer, type RawServer } from '../support/raw.ts'

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

  it('is not used again behind an answer to HEAD, which some servers give a body', async () => {
    expect(await connectionsFor(() => answer('', ''), { method: 'HEAD' })).toBe(2)
  })

  it('is closed by a reset behind an answer to HEAD, and leaves no port behind', async () => {
    await using upstream = await startAnswering(() => answer('', ''))
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    await fetch(`${gateway.url}/api/app/`, { method: 'HEAD' })
    const [connection] = upstream.connections
    await until(() => connection?.destroyed === true)
    expect((connection?.errored as NodeJS.ErrnoException | undefined)?.code).toBe('ECONNRESET')
  })

  it('that was lost while it waited costs one try, and those beside it none', async () => {
    let [generation, waiting] = [0, 0]
    const held: (() => void)[] = []
    const born = new WeakMap<Socket, number>()
    await using upstream = await startRawServer((socket) => {
      if (!born.has(socket)) born.set(socket, generation)
      // What a NAT or a load balancer has forgotten is answered with a reset.
      if (born.get(socket) !== generation) return void socket.resetAndDestroy()
      if (generation > 0) return void socket.write(answer())
      waiting += 1
      held.push(() => socket.write(answer()))
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const first = Array.from({ length: 20 }, () => fetch(`${gateway.url}/api/app/`))
    await until(() => waiting === 20)
    for (const write of held) write()
    for (const response of await Promise.all(first)) await response.text()
    generation += 1
    const statuses: number[] = []
    for (let index = 0; index < 30; index++) {
      const response = await fetch(`${gateway.url}/api/app/`)
      statuses.push(response.status)
      await response.text()
    }
    expect(statuses).toEqual(Array.from({ length: 30 }, () => 200))
    expect(upstream.connections).toHaveLength(21)
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
