import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { createGateway } from '../../src/index.ts'
import { appRoute, startGateway } from '../support/gateway.ts'
import { exchangeRaw, startRawServer, statusOf } from '../support/raw.ts'
import { rememberLines } from '../support/log.ts'
import { startUpstream, type Echo } from '../support/upstream.ts'

const nowhere = 'http://127.0.0.1:1'

async function problem(
  url: string,
  init?: RequestInit,
): Promise<{ status: number; code: string; retryAfter: string | null }> {
  const response = await fetch(url, init)
  const body = (await response.json()) as { code: string }
  return { status: response.status, code: body.code, retryAfter: response.headers.get('retry-after') }
}

const bearer = (tid: string): Record<string, string> => ({
  authorization: `Bearer e30.${Buffer.from(JSON.stringify({ tid })).toString('base64url')}.c2ln`,
})

describe('an upstream that fails', () => {
  it('is 502 when it cannot be reached, and 504 when it does not answer', async () => {
    await using silent = await startUpstream(() => undefined)
    await using gateway = await startGateway({
      routes: [
        { name: 'down', path: '/down/', upstreams: [nowhere] },
        { name: 'slow', path: '/slow/', upstreams: [silent.url], timeouts: { headers: 100 } },
        { name: 'unrouted', path: '/unrouted/', upstreams: ['http://192.0.2.1:9'] },
      ],
      timeouts: { connect: 150 },
    })
    expect(await problem(`${gateway.url}/down/`)).toMatchObject({
      status: 502,
      code: 'ERR_GATEWAY_UPSTREAM_UNREACHABLE',
    })
    expect(await problem(`${gateway.url}/slow/`)).toMatchObject({
      status: 504,
      code: 'ERR_GATEWAY_UPSTREAM_TIMEOUT',
    })
    const unrouted = await problem(`${gateway.url}/unrouted/`)
    expect([502, 504]).toContain(unrouted.status)
  })

  it('is cut off when its body stands still', async () => {
    await using upstream = await startUpstream((_request, response) => void response.write('begun'))
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])], timeouts: { idle: 150 } })
    const response = await fetch(`${gateway.url}/api/app/`)
    await expect(response.text()).rejects.toThrow()
  })

  it('is passed over for another one, whatever the method, when it cannot be reached', async () => {
    await using upstream = await startUpstream()
    await using gateway = await startGateway({ routes: [appRoute([nowhere, upstream.url])], ejection: false })
    for (let index = 0; index < 4; index++) {
      const response = await fetch(`${gateway.url}/api/app/`, { method: 'POST', body: 'hello' })
      expect(((await response.json()) as Echo).body).toBe('hello')
    }
    expect(gateway.settled.some(({ attempts }) => attempts === 2)).toBe(true)
  })

  it('is asked again for what is idempotent, and not for what is not', async () => {
    let connections = 0
    await using flaky = await startRawServer((socket) => {
      connections += 1
      if (connections % 2 === 1) socket.destroy()
      else socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok')
    })
    await using gateway = await startGateway({ routes: [appRoute([flaky.url])] })
    expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(200)
    expect(gateway.settled[0]?.attempts).toBe(2)
    expect(await problem(`${gateway.url}/api/app/`, { method: 'POST' })).toMatchObject({
      status: 502,
      code: 'ERR_GATEWAY_UPSTREAM_FAILED',
    })
    expect(gateway.settled[1]?.attempts).toBe(1)
  })

  it('is not asked again with retries: false, nor more often than attempts says', async () => {
    await using broken = await startRawServer((socket) => socket.destroy())
    await using never = await startGateway({ routes: [appRoute([broken.url])], retries: false })
    await using thrice = await startGateway({ routes: [appRoute([broken.url])], retries: { attempts: 3 } })
    await problem(`${never.url}/api/app/`)
    await problem(`${thrice.url}/api/app/`)
    expect(never.settled[0]?.attempts).toBe(1)
    expect(thrice.settled[0]?.attempts).toBe(4)
  })

  it('is not asked again past the budget', async () => {
    await using broken = await startRawServer((socket) => socket.destroy())
    await using gateway = await startGateway({
      routes: [appRoute([broken.url])],
      retries: { budget: 0.1 },
      ejection: false,
    })
    for (let index = 0; index < 40; index++) await problem(`${gateway.url}/api/app/`)
    const attempts = gateway.settled.reduce((sum, exchange) => sum + exchange.attempts, 0)
    expect(attempts).toBeLessThanOrEqual(40 + 10 + 4)
  })

  it.each([
    [500, { 'x-chosen': '500' }],
    [501, { 'x-chosen': '501' }],
    [504, { 'x-chosen': '504' }],
  ])('is not taken out of use by what a caller can choose: %i', async (_status, headers) => {
    await using upstream = await startUpstream((request, response) => {
      response.statusCode = Number(request.headers['x-chosen'] ?? 200)
      response.end()
    })
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url, upstream.url.replace('127.0.0.1', 'localhost')])],
      ejection: { failures: 2 },
    })
    for (let index = 0; index < 10; index++) await fetch(`${gateway.url}/api/app/`, { headers })
    expect(gateway.status().routes[0]?.upstreams.some(({ ejected }) => ejected)).toBe(false)
  })

  it.each([
    ['a header that is too large', `location: ${'x'.repeat(3_000)}`, ''],
    ['a control character in a header', 'location: /?next=\u0001', ''],
    ['a control character in the reason', 'a: b', '\u0001'],
  ])('is not taken out of use by an answer that it makes of a request: %s', async (_what, header, reason) => {
    await using upstream = await startRawServer((socket, received) => {
      const bad = received.includes('bad')
      socket.write(
        `HTTP/1.1 200 ${bad ? reason : ''}\r\n${bad ? header : 'a: b'}\r\ncontent-length: 2\r\n\r\nok`,
      )
    })
    const { logger, lines } = rememberLines()
    await using gateway = await startGateway({
      logger,
      routes: [appRoute([upstream.url, upstream.url.replace('127.0.0.1', 'localhost')])],
      ejection: { failures: 1 },
      maxResponseHeaderSize: '2kb',
    })
    for (let index = 0; index < 4; index++) {
      const answer = await problem(`${gateway.url}/api/app/bad`)
      expect(answer).toMatchObject({ status: 502, code: 'ERR_GATEWAY_UPSTREAM_FAILED' })
    }
    expect(gateway.status().routes[0]?.upstreams.some(({ ejected }) => ejected)).toBe(false)
    // The other one would answer the same.
    expect(gateway.settled.map(({ attempts }) => attempts)).toEqual([1, 1, 1, 1])
    const logged = lines.filter(({ message }) => message === 'an upstream failed')
    expect(String(logged[0]?.fields['err'])).toMatch(
      /headers are larger than 2048 bytes|control character|status line/,
    )
  })

  it('is taken out of use where it does not speak HTTP', async () => {
    await using upstream = await startRawServer((socket) => void socket.write('SSH-2.0-OpenSSH_9.9\r\n'))
    await using good = await startUpstream((_request, response) => response.end())
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url, good.url])],
      ejection: { failures: 1 },
    })
    for (let index = 0; index < 4; index++) expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(200)
    expect(gateway.status().routes[0]?.upstreams.map(({ ejected }) => ejected)).toEqual([true, false])
  })

  it('may answer with larger headers than a client may send', async () => {
    await using upstream = await startRawServer((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\na: ${'x'.repeat(40_000)}\r\ncontent-length: 2\r\n\r\nok`)
    })
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const answer = await exchangeRaw(
      gateway.url,
      'GET /api/app/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
    )
    expect(statusOf(answer)).toBe(200)
    expect(answer.length).toBeGreaterThan(40_000)
  })

  it('is ready as soon as its probe has a status, though its body does not end', async () => {
    const endless = (_request: IncomingMessage, response: ServerResponse): void => void response.write('x')
    await using first = await startUpstream(endless)
    await using second = await startUpstream(endless)
    const { logger, lines } = rememberLines()
    await using _gateway = await startGateway({
      logger,
      routes: [appRoute([first.url, second.url])],
      probes: { interval: 20, timeout: 50 },
    })
    await until(() => first.seen.length > 4 && second.seen.length > 4)
    expect(lines.filter(({ message }) => message.includes('readiness'))).toEqual([])
  })

  it('is taken out of use by time limits only where it answered nothing meanwhile', async () => {
    const options = { failures: 2, duration: '1m' } as const
    const hangs = (request: IncomingMessage, response: ServerResponse): void => {
      if (!request.url?.includes('slow')) response.end()
    }
    await using slow = await startUpstream(hangs)
    await using other = await startUpstream(hangs)
    await using gateway = await startGateway({
      routes: [appRoute([slow.url, other.url], { timeouts: { headers: 200 } })],
      ejection: options,
      probes: false,
    })
    const asked = Array.from({ length: 8 }, () => fetch(`${gateway.url}/api/app/slow`))
    await until(() => slow.seen.length + other.seen.length === 8)
    for (let index = 0; index < 4; index++) await fetch(`${gateway.url}/api/app/quick`)
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(
      Array.from({ length: 8 }, () => 504),
    )
    const ejected = (): boolean[] =>
      gateway.status().routes[0]?.upstreams.map((upstream) => upstream.ejected) ?? []
    expect(ejected()).toEqual([false, false])
    await Promise.all(Array.from({ length: 8 }, () => fetch(`${gateway.url}/api/app/slow`)))
    expect(ejected().filter(Boolean)).toHaveLength(1)
  })

  it('stays out of use for as long as its ejection lasts while its probes pass all the time', async () => {
    let probes = 0
    const breaks = (request: IncomingMessage, response: ServerResponse): void => {
      if (request.url === '/ready') probes += 1
      if (request.url === '/ready') response.writeHead(404).end()
      else response.destroy()
    }
    await using bad = await startUpstream(breaks)
    await using good = await startUpstream((_request, response) => response.end())
    await using gateway = await startGateway({
      routes: [appRoute([bad.url, good.url])],
      retries: false,
      ejection: { failures: 2, duration: '1h', maxDuration: '1h' },
      probes: { path: '/ready', interval: 20, timeout: 1_000 },
    })
    for (let index = 0; index < 6; index++) await fetch(`${gateway.url}/api/app/`, { method: 'POST' })
    const seen = probes
    await until(() => probes > seen + 6)
    expect(gateway.status().routes[0]?.upstreams[0]).toMatchObject({ ejected: true, ready: true })
    for (let index = 0; index < 6; index++) expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(200)
  })

  it('comes back as soon as its readiness probe passes again, however long its ejection was to last', async () => {
    const probes: ServerResponse[] = []
    await using first = await startUpstream(({ url }, response) => {
      if (url === '/ready') probes.push(response)
      else response.writeHead(503).end()
    })
    await using second = await startUpstream((_request, response) => response.end())
    await using gateway = await startGateway({
      routes: [appRoute([first.url, second.url])],
      ejection: { failures: 2, duration: '1h', maxDuration: '1h' },
      probes: { path: '/ready', interval: 20, timeout: '1m' },
    })
    const known = (): object => gateway.status().routes[0]?.upstreams[0] ?? {}
    await until(() => probes.length === 1)
    for (let index = 0; index < 4; index++) await fetch(`${gateway.url}/api/app/`)
    expect(known()).toMatchObject({ ejected: true, ready: true })
    probes.shift()?.writeHead(503).end()
    await until(() => probes.length === 1)
    expect(known()).toMatchObject({ ejected: true, ready: false })
    probes.shift()?.end()
    await until(() => 'ejected' in known() && !(known() as { ejected: boolean }).ejected)
    await until(() => probes.length === 1)
    probes.shift()?.writeHead(503).end()
    await until(() => !(known() as { ready: boolean }).ready)
    for (let index = 0; index < 4; index++) expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(200)
  })

  it('is not asked for its readiness where it is the only one, or probes are off', async () => {
    await using upstream = await startUpstream()
    await using second = await startUpstream()
    const probes = { interval: 10, timeout: 1_000 } as const
    await using alone = await startGateway({ routes: [appRoute([upstream.url])], probes })
    await using off = await startGateway({ routes: [appRoute([upstream.url, second.url])], probes: false })
    await using watching = await startGateway({ routes: [appRoute([second.url, nowhere])], probes })
    await until(() => second.seen.length > 3)
    expect(second.seen.every(({ url }) => url === '/readyz')).toBe(true)
    expect(upstream.seen).toEqual([])
    await until(() => watching.status().routes[0]?.upstreams[1]?.ready === false)
    expect(
      [alone, off].flatMap((each) => each.status().routes[0]?.upstreams.map(({ ready }) => ready)),
    ).toEqual([true, true, true])
  })

  it('that refuses connections is passed over without the budget, however many requests there are', async () => {
    await using good = await startUpstream((_request, response) => response.end())
    await using gateway = await startGateway({
      routes: [appRoute([nowhere, 'http://127.0.0.1:2', good.url])],
      retries: { attempts: 1, budget: 0 },
      ejection: false,
      probes: false,
    })
    for (let index = 0; index < 60; index++)
      expect((await fetch(`${gateway.url}/api/app/`, { method: 'POST' })).status).toBe(200)
  })

  it.each(['GET', 'POST'])(
    'that refuses connections is asked once while the other one is out of use (%s)',
    async (method) => {
      await using stops = await startUpstream((_request, response) => response.end())
      await using fails = await startUpstream((_request, response) => void response.writeHead(503).end())
      await using gateway = await startGateway({
        routes: [appRoute([stops.url, fails.url])],
        ejection: { failures: 2, duration: '1s' },
      })
      for (let index = 0; index < 6; index++) await fetch(`${gateway.url}/api/app/`)
      expect(gateway.status().routes[0]?.upstreams.map(({ ejected }) => ejected)).toEqual([false, true])
      await stops.stop()
      expect((await fetch(`${gateway.url}/api/app/`, { method })).status).toBe(503)
      expect(gateway.settled.at(-1)).toMatchObject({ attempts: 2, upstream: fails.url })
    },
  )

  it('that refuses connections is asked once while the other one is not ready', async () => {
    await using unready = await startUpstream((_request, response) => void response.writeHead(503).end())
    await using gateway = await startGateway({
      routes: [appRoute([nowhere, unready.url])],
      ejection: false,
      probes: { interval: 20, timeout: 1_000 },
      retries: { attempts: 1, budget: 0 },
    })
    await until(() => gateway.status().routes[0]?.upstreams[1]?.ready === false)
    for (let index = 0; index < 4; index++) await fetch(`${gateway.url}/api/app/`)
    expect(gateway.settled.map(({ attempts }) => attempts <= 2)).toEqual([true, true, true, true])
  })

  it('is taken out of use after failures in a row, and comes back', async () => {
    let healthy = false
    await using bad = await startUpstream((_request, response) => {
      response.statusCode = healthy ? 200 : 503
      response.end()
    })
    await using good = await startUpstream((_request, response) => response.end())
    await using gateway = await startGateway({
      routes: [appRoute([bad.url, good.url])],
      ejection: { failures: 3, duration: 300, maxDuration: 300 },
      probes: false,
    })
    for (let index = 0; index < 10; index++) await fetch(`${gateway.url}/api/app/`)
    expect(gateway.status().routes[0]?.upstreams.map(({ ejected }) => ejected)).toEqual([true, false])
    expect(bad.seen.length).toBe(3)
    healthy = true
    await until(() => gateway.status().routes[0]?.upstreams[0]?.ejected === false)
    for (let index = 0; index < 4; index++) await fetch(`${gateway.url}/api/app/`)
    expect(bad.seen.length).toBeGreaterThan(3)
  })

  it('stays in use when too many would be out', async () => {
    await using gateway = await startGateway({
      routes: [appRoute([nowhere, 'http://127.0.0.1:2'])],
      ejection: { failures: 1, maxEjectedPercent: 50 },
      retries: false,
    })
    for (let index = 0; index < 6; index++) await problem(`${gateway.url}/api/app/`)
    expect(gateway.status().routes[0]?.upstreams.filter(({ ejected }) => ejected)).toHaveLength(1)
  })

  it('is left by its idle connections after timeouts.upstreamKeepAlive', async () => {
    await using upstream = await startUpstream((_request, response) => response.end())
    upstream.server.keepAliveTimeout = 0
    let open = 0
    upstream.server.on('connection', (socket) => {
      open += 1
      socket.on('close', () => (open -= 1))
    })
    await using brief = await startGateway({
      routes: [appRoute([upstream.url])],
      timeouts: { upstreamKeepAlive: 50 },
    })
    await fetch(`${brief.url}/api/app/`)
    await until(() => open === 0, 3_000)
  })

  it('is 503 with Retry-After when every upstream is out of use by weight', async () => {
    await using gateway = await startGateway({ routes: [appRoute([{ url: nowhere, weight: 0 }])] })
    expect(await problem(`${gateway.url}/api/app/`)).toEqual({
      status: 503,
      code: 'ERR_GATEWAY_NO_UPSTREAM',
      retryAfter: '1',
    })
  })
})

describe('load balancing', () => {
  it('prefers the least busy of equals', async () => {
    const { promise: release, resolve } = Promise.withResolvers<void>()
    await using slow = await startUpstream((_request, response) => void release.then(() => response.end()))
    await using fast = await startUpstream((_request, response) => response.end())
    await using gateway = await startGateway({ routes: [appRoute([slow.url, fast.url])] })
    const calls = Array.from({ length: 8 }, async () => (await fetch(`${gateway.url}/api/app/`)).status)
    await until(() => gateway.settled.length + slow.seen.length === 8)
    for (let index = 0; index < 8; index++) await fetch(`${gateway.url}/api/app/`)
    expect(slow.seen.length).toBeLessThanOrEqual(8)
    expect(fast.seen.length).toBeGreaterThanOrEqual(8)
    resolve()
    await Promise.all(calls)
  })

  it('shares by weight, exactly over each round, and follows setWeight', async () => {
    await using stable = await startUpstream((_request, response) => response.end())
    await using canary = await startUpstream((_request, response) => response.end())
    await using gateway = await startGateway({
      routes: [
        appRoute([
          { url: stable.url, weight: 9 },
          { url: canary.url, weight: 1 },
        ]),
      ],
    })
    for (let index = 0; index < 40; index++) await fetch(`${gateway.url}/api/app/`)
    expect([stable.seen.length, canary.seen.length]).toEqual([36, 4])
    gateway.setWeight('app', stable.url, 0)
    for (let index = 0; index < 10; index++) await fetch(`${gateway.url}/api/app/`)
    expect([stable.seen.length, canary.seen.length]).toEqual([36, 14])
    gateway.setWeight('app', `${stable.url}/`, 0)
    expect(() => gateway.setWeight('app', nowhere, 1)).toThrow(TypeError)
    expect(() => gateway.setWeight('app', 'nowhere', 1)).toThrow(TypeError)
    expect(() => gateway.setWeight('app', stable.url, -1)).toThrow(TypeError)
  })

  it.each([
    ['tenant', 'tenant' as const, (key: string) => bearer(key)],
    ['header', { header: 'X-Shard' }, (key: string) => ({ 'x-shard': key })],
    ['cookie', { cookie: 'shard' }, (key: string) => ({ cookie: `other=1; shard=${key}` })],
  ])('keeps what has the same %s together', async (_name, affinity, headers) => {
    await using first = await startUpstream((_request, response) => response.end('1'))
    await using second = await startUpstream((_request, response) => response.end('2'))
    await using gateway = await startGateway({ routes: [appRoute([first.url, second.url], { affinity })] })
    const seen = new Map<string, Set<string>>()
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < 12; index++) {
        const key = `key-${index}`
        const answer = await (await fetch(`${gateway.url}/api/app/`, { headers: headers(key) })).text()
        seen.set(key, (seen.get(key) ?? new Set()).add(answer))
      }
    }
    expect([...seen.values()].every((answers) => answers.size === 1)).toBe(true)
    expect(first.seen.length).toBeGreaterThan(0)
    expect(second.seen.length).toBeGreaterThan(0)
  })

  it('keeps one client together', async () => {
    await using first = await startUpstream((_request, response) => response.end())
    await using second = await startUpstream((_request, response) => response.end())
    await using gateway = await startGateway({
      routes: [appRoute([first.url, second.url], { affinity: 'client' })],
    })
    for (let index = 0; index < 6; index++) await fetch(`${gateway.url}/api/app/`)
    expect([first.seen.length, second.seen.length].toSorted()).toEqual([0, 6])
  })
})

describe('limits', () => {
  it('refuse more requests at once than the route takes', async () => {
    const { promise: release, resolve } = Promise.withResolvers<void>()
    await using upstream = await startUpstream(
      (_request, response) => void release.then(() => response.end()),
    )
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url], { maxConcurrentRequests: 2 })],
    })
    const calls = [fetch(`${gateway.url}/api/app/`), fetch(`${gateway.url}/api/app/`)]
    await until(() => upstream.seen.length === 2)
    expect(await problem(`${gateway.url}/api/app/`)).toEqual({
      status: 503,
      code: 'ERR_GATEWAY_OVERLOADED',
      retryAfter: '1',
    })
    resolve()
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200])
  })

  it('refuse by rate, by the key they are told, with Retry-After', async () => {
    const keys: string[] = []
    const limiter = {
      consume(key: string) {
        keys.push(key)
        return { allowed: keys.filter((other) => other === key).length <= 2, retryAfter: 1_500 }
      },
    }
    await using upstream = await startUpstream()
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url], { rateLimit: { limiter, by: 'tenant' } })],
    })
    const call = (tid: string): Promise<Response> =>
      fetch(`${gateway.url}/api/app/`, { headers: bearer(tid) })
    expect((await call('a')).status).toBe(200)
    expect((await call('a')).status).toBe(200)
    const refused = await call('a')
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '2'])
    expect((await call('b')).status).toBe(200)
    expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(200)
    expect(new Set(keys)).toEqual(new Set(['app:a', 'app:b', 'app:127.0.0.1']))
  })

  it('tell the client its limits, where the limiter names them', async () => {
    let left = 1
    const limiter = {
      consume: () => ({
        allowed: left-- > 0,
        retryAfter: 1_000,
        headers: { 'ratelimit-policy': '"app";q=1;w=1', ratelimit: `"app";r=${Math.max(0, left)};t=1` },
      }),
    }
    await using upstream = await startUpstream((_request, response) => {
      response.writeHead(200, { 'x-own': 'a', 'set-cookie': ['b=1', 'c=2'] }).end('whole')
    })
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url], { rateLimit: { limiter } })],
    })
    const allowed = await fetch(`${gateway.url}/api/app/`)
    expect(await allowed.text()).toBe('whole')
    expect(allowed.headers.get('ratelimit')).toBe('"app";r=0;t=1')
    expect([allowed.headers.get('x-own'), allowed.headers.getSetCookie()]).toEqual(['a', ['b=1', 'c=2']])
    const refused = await fetch(`${gateway.url}/api/app/`)
    expect([refused.status, refused.headers.get('ratelimit-policy')]).toEqual([429, '"app";q=1;w=1'])
    expect(refused.headers.get('retry-after')).toBe('1')
  })

  it('follow the policy of the route when the limiter fails or hangs', async () => {
    await using upstream = await startUpstream()
    const broken = { consume: () => Promise.reject(new Error('down')) }
    const hanging = { consume: () => new Promise<never>(() => undefined) }
    await using gateway = await startGateway({
      routes: [
        { name: 'open', path: '/open/', upstreams: [upstream.url], rateLimit: { limiter: broken } },
        {
          name: 'shut',
          path: '/shut/',
          upstreams: [upstream.url],
          rateLimit: { limiter: hanging, onFailure: 'refuse' },
        },
      ],
    })
    expect((await fetch(`${gateway.url}/open/`)).status).toBe(200)
    expect(await problem(`${gateway.url}/shut/`)).toMatchObject({
      status: 503,
      code: 'ERR_GATEWAY_OVERLOADED',
    })
  })

  it.each([
    ['says no', () => Promise.reject(new Error('NOAUTH wrong password'))],
    ['has no answer', () => undefined],
    ['has an answer that is none', () => ({ allowed: 'yes' })],
    [
      'throws',
      () => {
        throw new Error('down')
      },
    ],
  ])('say once why they are off when the limiter %s', async (_name, consume) => {
    await using upstream = await startUpstream()
    const { logger, lines } = rememberLines()
    let broken = true
    const limiter = { consume: () => (broken ? consume() : { allowed: true, retryAfter: 0 }) as never }
    await using gateway = await startGateway({
      logger,
      routes: [appRoute([upstream.url], { rateLimit: { limiter } })],
    })
    for (let index = 0; index < 3; index++) expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(200)
    const told = (): unknown[] => lines.filter(({ message }) => message.includes('rate limiter'))
    expect(told()).toMatchObject([{ level: 'error', fields: { err: expect.any(Error), route: 'app' } }])
    broken = false
    await fetch(`${gateway.url}/api/app/`)
    expect(told()).toMatchObject([{ level: 'error' }, { level: 'info' }])
  })

  it('count a customer of IPv6 by its network, however its address is written', async () => {
    const keys = new Set<string>()
    const limiter = {
      consume(key: string) {
        keys.add(key)
        return { allowed: true, retryAfter: 0 }
      },
    }
    await using upstream = await startUpstream()
    await using gateway = await startGateway({
      trustedProxies: ['127.0.0.1'],
      routes: [appRoute([upstream.url], { rateLimit: { limiter } })],
    })
    const call = (client: string): Promise<Response> =>
      fetch(`${gateway.url}/api/app/`, { headers: { 'x-forwarded-for': client } })
    for (const client of ['2001:db8:1:2::1', '2001:0DB8:1:2:aaaa::2', '[2001:db8:1:2:0:0:0:1]:443'])
      await call(client)
    for (const client of ['1.2.3.4', '::ffff:102:304', '1.2.3.4:50000']) await call(client)
    expect([...keys]).toEqual(['app:2001:db8:1:2::/64', 'app:1.2.3.4'])
  })

  it('tell of a client that leaves while its request is counted', async () => {
    const { promise, resolve } = Promise.withResolvers<{ allowed: boolean; retryAfter: number }>()
    let asked = 0
    const limiter = { consume: () => ((asked += 1), promise) }
    await using gateway = await startGateway({ routes: [appRoute([nowhere], { rateLimit: { limiter } })] })
    const abort = new AbortController()
    const call = fetch(`${gateway.url}/api/app/`, { signal: abort.signal }).catch(() => 'gone')
    await until(() => asked === 1)
    expect(gateway.status().requests).toBe(1)
    abort.abort()
    await call
    await until(() => gateway.status().connections === 0)
    resolve({ allowed: true, retryAfter: 0 })
    await until(() => gateway.settled.length === 1)
    expect(gateway.settled).toMatchObject([{ status: 0, outcome: 'aborted', attempts: 0, route: 'app' }])
  })

  it('answer 408 to a body that stands still', async () => {
    await using upstream = await startUpstream((request) => void request.resume())
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])], timeouts: { idle: 150 } })
    const answer = await exchangeRaw(
      gateway.url,
      'POST /api/app/ HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc',
      (received) => received.endsWith('}'),
    )
    expect(statusOf(answer)).toBe(408)
  })

  it('answer 408 to headers that do not come', async () => {
    await using gateway = await startGateway({
      routes: [appRoute([nowhere])],
      timeouts: { requestHeaders: 100 },
    })
    expect(statusOf(await exchangeRaw(gateway.url, 'GET /api/app/ HTTP/1.1\r\nhost:'))).toBe(408)
  })

  it('answer 431 to headers that are larger than they may be', async () => {
    await using gateway = await startGateway({ routes: [appRoute([nowhere])], maxHeaderSize: '2kb' })
    expect(
      statusOf(
        await exchangeRaw(gateway.url, `GET / HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(2_100)}\r\n\r\n`),
      ),
    ).toBe(431)
  })

  it('let go of an idle client connection', async () => {
    await using upstream = await startUpstream()
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url])],
      timeouts: { keepAlive: 100 },
    })
    const answer = await exchangeRaw(gateway.url, 'GET /api/app/ HTTP/1.1\r\nhost: a\r\n\r\n')
    expect(statusOf(answer)).toBe(200)
    expect(answer.toLowerCase()).toContain('connection: keep-alive')
  })

  it('hold the number of connections', async () => {
    await using gateway = await startGateway({ routes: [appRoute([nowhere])], maxConnections: 1 })
    const { hostname, port } = new URL(gateway.url)
    const first = connect(Number(port), hostname)
    await until(() => gateway.status().connections === 1)
    await expect(exchangeRaw(gateway.url, 'GET /livez HTTP/1.1\r\nhost: a\r\n\r\n')).resolves.toBe('')
    first.destroy()
  })
})

/** Resolves once nothing can connect there any more. */
async function refusesConnections(url: string): Promise<void> {
  await until(() =>
    fetch(`${url}/livez`).then(
      () => false,
      (error: Error) => (error.cause as NodeJS.ErrnoException).code === 'ECONNREFUSED',
    ),
  )
}

describe('drain', () => {
  it('is announced first: not ready, no connection kept, and still serving', async () => {
    await using upstream = await startUpstream((_request, response) => response.end('hello'))
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200)
    gateway.announceStop()
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(503)
    for (const path of ['/api/app/', '/readyz', '/nothing']) {
      const { headers } = await fetch(gateway.url + path)
      expect(headers.get('connection')).toBe('close')
    }
    expect(await (await fetch(`${gateway.url}/api/app/`)).text()).toBe('hello')
  })

  it('loses no request, takes no new connection, and ends kept ones', async () => {
    const { promise: release, resolve } = Promise.withResolvers<void>()
    await using upstream = await startUpstream(
      (_request, response) => void release.then(() => response.end('done')),
    )
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const calls = Array.from({ length: 20 }, async () => {
      const response = await fetch(`${gateway.url}/api/app/`)
      return [response.status, await response.text(), response.headers.get('connection')]
    })
    await until(() => upstream.seen.length === 20)
    const drained = gateway.drain('shutdown', AbortSignal.timeout(10_000))
    expect(gateway.status().draining).toBe(true)
    await refusesConnections(gateway.url)
    resolve()
    for (const call of await Promise.all(calls)) expect(call).toEqual([200, 'done', 'close'])
    await drained
    await until(() => gateway.status().connections === 0)
  })

  it('fails no request of clients that keep asking: they are answered, or refused a new connection', async () => {
    await using upstream = await startUpstream((_request, response) => response.end('done'))
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const outcomes = new Map<string, number>()
    let answered = 0
    const clients = Array.from({ length: 16 }, async () => {
      for (;;) {
        try {
          const response = await fetch(`${gateway.url}/api/app/`)
          const outcome = `${response.status} ${await response.text()}`
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
          answered += 1
        } catch (error) {
          const code = String(((error as Error).cause as { code?: string } | undefined)?.code)
          outcomes.set(code, (outcomes.get(code) ?? 0) + 1)
          return
        }
      }
    })
    await until(() => answered > 300)
    await gateway.drain('restart', AbortSignal.timeout(5_000))
    await gateway.close()
    await Promise.all(clients)
    expect([...outcomes.keys()].toSorted()).toEqual(['200 done', 'ECONNREFUSED'])
    expect(outcomes.get('ECONNREFUSED')).toBe(16)
  })

  it('gives a connection whose answer ends meanwhile the same time for its next request', async () => {
    const { promise: release, resolve } = Promise.withResolvers<void>()
    await using upstream = await startUpstream((request, response) => {
      if (request.url === '/next') return void response.end('next')
      response.flushHeaders()
      void release.then(() => response.end('first'))
    })
    const gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname)
    let received = ''
    socket.on('data', (chunk) => (received += chunk.toString()))
    socket.write('GET /api/app/ HTTP/1.1\r\nhost: a\r\n\r\n')
    // The client is told that the connection stays open.
    await until(() => received.includes('keep-alive'))
    const began = performance.now()
    const stopped = gateway.drain('shutdown', AbortSignal.timeout(10_000)).then(() => gateway.close())
    await until(() => performance.now() - began > 700)
    resolve()
    await until(() => received.includes('first'))
    socket.write('GET /api/app/next HTTP/1.1\r\nhost: a\r\n\r\n')
    await until(() => received.includes('next'))
    expect(received.toLowerCase()).toContain('connection: close')
    await stopped
  })

  it('answers a request that was on its way on a kept connection, and says that it is not ready', async () => {
    await using upstream = await startUpstream()
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname)
    let received = ''
    socket.on('data', (chunk) => (received += chunk.toString()))
    socket.write('GET /livez HTTP/1.1\r\nhost: a\r\n\r\n')
    await until(() => received.includes('pass'))
    const drained = gateway.drain('shutdown', AbortSignal.timeout(5_000))
    socket.write('GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n')
    await until(() => received.includes('503'))
    expect(received.toLowerCase()).toContain('connection: close')
    await drained
  })

  it('gives up when the signal aborts, and close ends the rest', async () => {
    await using upstream = await startUpstream(() => undefined)
    const gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const call = fetch(`${gateway.url}/api/app/`).catch(() => 'cut')
    await until(() => upstream.seen.length === 1)
    await gateway.drain('shutdown', AbortSignal.timeout(100))
    expect(gateway.status().requests).toBe(1)
    await Promise.all([gateway.close(), gateway.close()])
    expect(await call).toBe('cut')
  })

  it('is not needed: the signal of the options closes at once', async () => {
    const abort = new AbortController()
    const gateway = await createGateway({ port: 0, routes: [appRoute([nowhere])], signal: abort.signal })
    abort.abort()
    await until(async () => (await fetch(`${gateway.url}/livez`).catch(() => 'gone')) === 'gone')
    await expect(
      createGateway({ port: 0, routes: [appRoute([nowhere])], signal: abort.signal }),
    ).rejects.toThrow()
  })
})

describe('a port that is taken', () => {
  it('is named', async () => {
    await using upstream = await startUpstream()
    await expect(createGateway({ port: upstream.port, routes: [appRoute([nowhere])] })).rejects.toMatchObject(
      {
        code: 'ERR_GATEWAY_LISTEN_FAILED',
        message: expect.stringContaining(`127.0.0.1:${upstream.port}: the port is taken`),
      },
    )
  })
})
