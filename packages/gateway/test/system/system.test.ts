import { createApp } from '@quintet/core'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import system from '../../src/system/gateway-system.ts'
import { startUpstream, type Echo } from '../support/upstream.ts'

describe('the gateway as a system', () => {
  it('reads its routes from the environment, follows the flags, and stops', async () => {
    await using upstream = await startUpstream()
    await using server = await startPrivateRedis()
    const app = await createApp(system, {
      env: {
        GATEWAY_PORT: '0',
        GATEWAY_ROUTES: JSON.stringify([{ name: 'media', path: '/api/media/', upstreams: [upstream.url] }]),
        GATEWAY_REDIS__URL: server.url,
        GATEWAY_MAINTENANCE__TOKEN: 'a-token-of-an-operator',
        GATEWAY_MAINTENANCE__ALLOW: '10.0.0.0/8,192.168.0.0/16',
        GATEWAY_TRUSTED_PROXIES: '10.1.1.1',
      },
      ports: { http: 0 },
    })
    const url = app.transports.get('http')?.url
    expect(((await (await fetch(`${url}/api/media/x`)).json()) as Echo).url).toBe('/x')
    const redis = new Redis(server.url)
    await redis.set('platform:maintenance', '1')
    redis.disconnect()
    await until(async () => (await fetch(`${url}/api/media/x`)).status === 503)
    const operator = await fetch(`${url}/api/media/x`, {
      headers: { 'x-maintenance-token': 'a-token-of-an-operator' },
    })
    expect(operator.status).toBe(200)
    expect((await app.health.report()).checks['maintenance flags']?.status).toBe('pass')
    await app.stop()
    await expect(fetch(`${url}/livez`)).rejects.toThrow()
  })

  it.each([
    ['no routes', {}, 'routes'],
    ['routes that are no JSON', { GATEWAY_ROUTES: '[' }, 'routes: must be JSON'],
    ['routes that are no list', { GATEWAY_ROUTES: '{}' }, 'routes: must be a JSON list'],
    [
      'a route with a slip',
      { GATEWAY_ROUTES: '[{"name":"a","path":"/","upstream":[]}]' },
      'unknown key "upstream". Did you mean "upstreams"?',
    ],
    [
      'an unknown variable',
      { GATEWAY_ROUTES: '[{"name":"a","path":"/","upstreams":["http://a"]}]', GATEWAY_PROT: '1' },
      'prot',
    ],
  ])('does not start with %s', async (_name, env, message) => {
    await expect(createApp(system, { env })).rejects.toThrow(message)
  })
})
