import { describe, expect, it } from 'vitest'
import {
  createGateway,
  gatewayDefaults,
  maintenanceDefaults,
  routeDefaults,
  type GatewayOptions,
} from '../../src/index.ts'
import { resolveGatewayOptions } from '../../src/options/gateway-options.ts'
import { appRoute } from '../support/gateway.ts'

const routes = [appRoute(['http://127.0.0.1:3000'])]

describe('resolveGatewayOptions', () => {
  it('fills in the exported defaults', () => {
    const resolved = resolveGatewayOptions({ routes, maintenance: { redis: { mget: async () => [] } } })
    expect(resolved).toMatchObject({
      host: gatewayDefaults.host,
      port: gatewayDefaults.port,
      maxHeaderSize: 16_384,
      maxConnections: gatewayDefaults.maxConnections,
      timeouts: { connect: 2_000, headers: 60_000, idle: 60_000, requestHeaders: 15_000, keepAlive: 75_000 },
      retries: gatewayDefaults.retries,
      ejection: { failures: 5, duration: 5_000, maxDuration: 60_000, maxEjectedPercent: 50 },
      maintenance: {
        prefix: maintenanceDefaults.prefix,
        interval: 1_000,
        timeout: 500,
        holdFor: 300_000,
        retryAfter: 60_000,
      },
    })
    expect(resolved.routes[0]).toMatchObject({
      ...routeDefaults,
      timeouts: { headers: 60_000, idle: 60_000 },
    })
  })

  const wrong: readonly (readonly [string, unknown, string])[] = [
    ['an unknown option', { routes, prot: 1 }, 'gateway: unknown key "prot". Did you mean "port"?'],
    ['no routes', {}, 'gateway.routes: give at least one'],
    ['an empty list of routes', { routes: [] }, 'gateway.routes: give at least one'],
    [
      'an unknown route option',
      { routes: [{ ...routes[0], webSockets: true }] },
      'gateway.routes[0]: unknown key "webSockets". Did you mean "websocket"?',
    ],
    [
      'a route without a name',
      { routes: [{ path: '/', upstreams: ['http://a'] }] },
      'gateway.routes[0].name',
    ],
    [
      'a name with capitals',
      { routes: [{ name: 'App', path: '/', upstreams: ['http://a'] }] },
      'gateway.routes[0].name: "App"',
    ],
    [
      'a path without a slash at its end',
      { routes: [{ name: 'a', path: '/api', upstreams: ['http://a'] }] },
      'gateway.routes[0].path: "/api"',
    ],
    [
      'a path with dots',
      { routes: [{ name: 'a', path: '/../', upstreams: ['http://a'] }] },
      'gateway.routes[0].path',
    ],
    ['no upstream', { routes: [{ name: 'a', path: '/', upstreams: [] }] }, 'gateway.routes[0].upstreams'],
    [
      'an upstream with a path',
      { routes: [{ name: 'a', path: '/', upstreams: ['http://a/b'] }] },
      'gateway.routes[0].upstreams[0]: "http://a/b"',
    ],
    [
      'an upstream without a scheme',
      { routes: [{ name: 'a', path: '/', upstreams: ['a:80'] }] },
      'gateway.routes[0].upstreams[0]: "a:80"',
    ],
    [
      'an unknown upstream option',
      { routes: [{ name: 'a', path: '/', upstreams: [{ url: 'http://a', wieght: 1 }] }] },
      'Did you mean "weight"?',
    ],
    [
      'a negative weight',
      { routes: [{ name: 'a', path: '/', upstreams: [{ url: 'http://a', weight: -1 }] }] },
      '.weight: -1',
    ],
    [
      'two routes of one name',
      { routes: [routes[0], { ...routes[0], path: '/x/' }] },
      'two routes have the name "app"',
    ],
    [
      'two routes of one path',
      { routes: [routes[0], { ...routes[0], name: 'b' }] },
      'two routes have the path "/api/app/"',
    ],
    [
      'a limit that is no size',
      { routes: [{ ...routes[0], maxRequestSize: '1 mb' }] },
      'gateway.routes[0].maxRequestSize',
    ],
    [
      'an affinity that is none',
      { routes: [{ ...routes[0], affinity: 'ip' }] },
      'gateway.routes[0].affinity',
    ],
    [
      'a limiter that is none',
      { routes: [{ ...routes[0], rateLimit: { limiter: {} } }] },
      'gateway.routes[0].rateLimit.limiter',
    ],
    [
      'an unknown policy',
      { routes: [{ ...routes[0], rateLimit: { limiter: { consume() {} }, onFailure: 'x' } }] },
      '.onFailure',
    ],
    [
      'no room for a request',
      { routes: [{ ...routes[0], maxConcurrentRequests: 0 }] },
      '.maxConcurrentRequests: 0',
    ],
    [
      'an unknown timeout',
      { routes, timeouts: { conect: 1 } },
      'gateway.timeouts: unknown key "conect". Did you mean "connect"?',
    ],
    ['a timeout that is no duration', { routes, timeouts: { idle: '5 s' } }, 'gateway.timeouts.idle'],
    ['a port that is none', { routes, port: 70_000 }, 'gateway.port: 70000'],
    ['an ejection of nothing', { routes, ejection: { failures: 0 } }, 'gateway.ejection.failures: 0'],
    ['a budget above 1', { routes, retries: { budget: 2 } }, 'gateway.retries.budget'],
    ['a proxy that is no address', { routes, trustedProxies: ['proxy'] }, 'gateway.trustedProxies: "proxy"'],
    ['no Redis for the flags', { routes, maintenance: {} }, 'gateway.maintenance.redis'],
    [
      'a short token',
      { routes, maintenance: { redis: { mget() {} }, allow: { token: 'short' } } },
      'gateway.maintenance.allow.token',
    ],
    [
      'an interval of nothing',
      { routes, maintenance: { redis: { mget() {} }, interval: 0 } },
      'gateway.maintenance.interval',
    ],
  ]

  it.each(wrong)('refuses %s by its path', async (_name, options, message) => {
    await expect(createGateway(options as GatewayOptions)).rejects.toThrow(message)
    await expect(createGateway(options as GatewayOptions)).rejects.toBeInstanceOf(TypeError)
  })

  it('does not show a short token', async () => {
    const options = { routes, maintenance: { redis: { mget: async () => [] }, allow: { token: 'hunter2' } } }
    await expect(createGateway(options)).rejects.toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2') }),
    )
  })
})
