import { Redis } from 'ioredis'
import { startPrivateRedis, until, type PrivateRedis } from '@quintet/test-kit'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { GatewayOptions, MaintenanceOptions } from '../../src/index.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { startUpstream, type Echo, type TestUpstream } from '../support/upstream.ts'

const operator = 'a-token-of-an-operator'

describe('maintenance', () => {
  let server: PrivateRedis
  let redis: Redis
  let upstream: TestUpstream
  let gateway: TestGateway | undefined

  beforeAll(async () => {
    server = await startPrivateRedis()
    redis = new Redis(server.url, {
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      retryStrategy: () => 50,
    })
    redis.on('error', () => undefined)
    await until(() => redis.status === 'ready')
    upstream = await startUpstream()
  })

  afterEach(async () => {
    await gateway?.close()
    gateway = undefined
    if (redis.status === 'ready') await redis.flushall()
  })

  afterAll(async () => {
    redis.disconnect()
    await server.stop()
    await upstream.stop()
  })

  async function start(
    options: Partial<MaintenanceOptions> = {},
    more: Partial<GatewayOptions> = {},
  ): Promise<TestGateway> {
    gateway = await startGateway({
      ...more,
      routes: [
        { name: 'media', path: '/api/media/', upstreams: [upstream.url] },
        { name: 'ledger', path: '/api/ledger/', upstreams: [upstream.url] },
      ],
      maintenance: { redis, interval: 25, ...options },
    })
    return gateway
  }

  const status = async (path: string, headers: Record<string, string> = {}): Promise<number> => {
    const response = await fetch(`${gateway?.url}${path}`, { headers })
    await response.body?.cancel()
    return response.status
  }

  it('closes everything when the flag is set, and opens when it goes', async () => {
    await start()
    expect(await status('/api/media/')).toBe(200)
    await redis.set('platform:maintenance', '1')
    await until(async () => (await status('/api/media/')) === 503)
    expect(await status('/api/ledger/')).toBe(503)
    const response = await fetch(`${gateway?.url}/api/media/`)
    expect(response.headers.get('retry-after')).toBe('60')
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(await response.json()).toMatchObject({ status: 503, code: 'ERR_GATEWAY_MAINTENANCE' })
    expect(gateway?.status().maintenance).toMatchObject({ all: true })
    await redis.set('platform:maintenance', '0')
    await until(async () => (await status('/api/media/')) === 200)
  })

  it('follows within about a second by default', async () => {
    await start({ interval: '1s' })
    const at = performance.now()
    await redis.set('platform:maintenance', '1')
    await until(async () => (await status('/api/media/')) === 503)
    expect(performance.now() - at).toBeLessThan(1_500)
  })

  it('closes one app', async () => {
    await start()
    await redis.set('platform:maintenance:ledger', 'on')
    await until(async () => (await status('/api/ledger/')) === 503)
    expect(await status('/api/media/')).toBe(200)
  })

  it('closes one tenant', async () => {
    await start()
    const bearer = (tid: string): Record<string, string> => ({
      authorization: `Bearer e30.${Buffer.from(JSON.stringify({ tid })).toString('base64url')}.c2ln`,
    })
    await redis.set('platform:maintenance:tenants', 'acme, globex')
    await until(async () => (await status('/api/media/', bearer('acme'))) === 503)
    expect(await status('/api/media/', bearer('globex'))).toBe(503)
    expect(await status('/api/media/', bearer('initech'))).toBe(200)
    expect(await status('/api/media/')).toBe(200)
    expect(await status('/api/media/', { authorization: 'Bearer a.!.c' })).toBe(200)
  })

  it('is in force before the first request, and its health stays reachable', async () => {
    await redis.set('platform:maintenance', '1')
    await start()
    expect(await status('/api/media/')).toBe(503)
    expect(await status('/livez')).toBe(200)
    expect(await status('/readyz')).toBe(200)
  })

  it('shows browsers a page with the text of the flag, escaped', async () => {
    await redis.set('platform:maintenance', 'Back at <b>noon</b>')
    await start({ retryAfter: '5m' })
    const page = await fetch(`${gateway?.url}/api/media/`, {
      headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' },
    })
    expect(page.status).toBe(503)
    expect(page.headers.get('retry-after')).toBe('300')
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(await page.text()).toContain('Back at &lt;b&gt;noon&lt;/b&gt;')
    const problem = await fetch(`${gateway?.url}/api/media/`, {
      headers: { accept: 'application/json, text/html;q=0.5' },
    })
    expect(((await problem.json()) as { detail: string }).detail).toBe('Back at <b>noon</b>')
  })

  it('lets operators through by token or address, and keeps the token to itself', async () => {
    await redis.set('platform:maintenance', '1')
    await start({ allow: { token: operator } })
    expect(await status('/api/media/', { 'x-maintenance-token': 'a-token-of-somebody-el' })).toBe(503)
    const echo = (await (
      await fetch(`${gateway?.url}/api/media/`, { headers: { 'x-maintenance-token': operator } })
    ).json()) as Echo
    expect(echo.headers).not.toHaveProperty('x-maintenance-token')
    await gateway?.close()
    await start({ allow: { addresses: ['127.0.0.0/8'] } })
    expect(await status('/api/media/')).toBe(200)
  })

  it.each(['203.0.113.5:51234', '[2001:db8::1]:443', 'unknown', '"203.0.113.5"', '_hidden', '203.0.113.5'])(
    'takes the client of a trusted proxy that names it %s for no operator',
    async (client) => {
      await redis.set('platform:maintenance', '1')
      await start({ allow: { addresses: ['127.0.0.0/8'] } }, { trustedProxies: ['127.0.0.1'] })
      expect(await status('/api/media/', { 'x-forwarded-for': client })).toBe(503)
      expect(await status('/api/media/', { 'x-forwarded-for': '127.0.0.9:4711' })).toBe(200)
    },
  )

  it('looks under its own prefix', async () => {
    await redis.set('other:flag', '1')
    await start({ prefix: 'other:flag' })
    expect(await status('/api/media/')).toBe(503)
  })

  it('holds while Redis is dead, for as long as it is told, and then opens', async () => {
    await redis.set('platform:maintenance', '1')
    await start({ holdFor: 600 })
    expect(await status('/api/media/')).toBe(503)
    await server.kill()
    const at = performance.now()
    await until(async () => (await status('/api/media/')) === 200)
    expect(performance.now() - at).toBeGreaterThan(500)
    await server.restart()
    await until(() => redis.status === 'ready')
  })

  it('makes no request wait for a Redis that is frozen', async () => {
    await redis.set('platform:maintenance:ledger', '1')
    await start({ timeout: 50 })
    server.freeze()
    try {
      const times: number[] = []
      for (let index = 0; index < 50; index++) {
        const at = performance.now()
        expect(await status('/api/media/')).toBe(200)
        expect(await status('/api/ledger/')).toBe(503)
        times.push(performance.now() - at)
      }
      expect(times.toSorted((a, b) => a - b)[25]).toBeLessThan(50)
      await until(() => (gateway?.status().maintenance?.age ?? 0) > 200)
    } finally {
      server.thaw()
    }
    await until(() => (gateway?.status().maintenance?.age ?? 1_000) < 100)
  })

  it('starts open when Redis is not there, and closes when it comes back', async () => {
    await server.kill()
    await until(() => redis.status !== 'ready')
    await start({ timeout: 50 })
    expect(await status('/api/media/')).toBe(200)
    expect(gateway?.status().maintenance).toMatchObject({ age: null, stale: true })
    await server.restart()
    await until(() => redis.status === 'ready')
    await redis.set('platform:maintenance', '1')
    await until(async () => (await status('/api/media/')) === 503)
    expect(gateway?.status().maintenance?.stale).toBe(false)
  })
})
