import { describe, expect, it } from 'vitest'
import {
  createGateway,
  gatewaySecurityHeaders,
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
    const resolved = resolveGatewayOptions({ routes, maintenance: { redis: { get: async () => null } } })
    expect(resolved).toMatchObject({
      host: gatewayDefaults.host,
      port: gatewayDefaults.port,
      maxHeaderSize: 16_384,
      maxConnections: gatewayDefaults.maxConnections,
      timeouts: {
        connect: 2_000,
        headers: 60_000,
        idle: 60_000,
        requestHeaders: 15_000,
        keepAlive: 75_000,
        upstreamKeepAlive: 4_000,
      },
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
    ['an unknown option', { routes, prot: 1 }, 'unknown key "prot". Did you mean "port"?'],
    ['no routes', {}, 'gateway.routes: is missing'],
    ['an empty list of routes', { routes: [] }, 'gateway.routes: '],
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
      'gateway.routes[0].upstreams[0].url: "http://a" is not an origin',
    ],
    [
      'an upstream without a scheme',
      { routes: [{ name: 'a', path: '/', upstreams: ['a:80'] }] },
      'gateway.routes[0].upstreams[0].url: ',
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
    [
      'a proxy that is no address',
      { routes, trustedProxies: ['proxy'] },
      'gateway.trustedProxies[0]: "proxy"',
    ],
    ['no Redis for the flags', { routes, maintenance: {} }, 'gateway.maintenance.redis'],
    [
      'a short token',
      { routes, maintenance: { redis: { get() {} }, allow: { token: 'short' } } },
      'gateway.maintenance.allow.token',
    ],
    [
      'a value of a header that is not set',
      { routes, securityHeaders: { 'x-release': undefined } },
      'gateway.securityHeaders: the value of "x-release"',
    ],
    [
      'a value of a header in two lines',
      { routes, securityHeaders: { 'x-a': 'a\nb' } },
      'gateway.securityHeaders: the value of "x-a"',
    ],
    [
      'a header that says where an answer ends',
      { routes, securityHeaders: { 'Content-Length': '5' } },
      'gateway.securityHeaders: "content-length"',
    ],
    ['headers that are a text', { routes, securityHeaders: 'nosniff' }, 'gateway.securityHeaders'],
    ['a callback that is none', { routes, onSettled: 'x' }, 'gateway.onSettled'],
    ['a logger that is none', { routes, logger: {} }, 'gateway.logger'],
    ['a signal that is none', { routes, signal: {} }, 'gateway.signal'],
    ['a host that is none', { routes, host: 5 }, 'gateway.host'],
    [
      'a text for true',
      { routes: [{ ...routes[0], stripPrefix: 'false' }] },
      'gateway.routes[0].stripPrefix',
    ],
    ['a text for false', { routes: [{ ...routes[0], websocket: 'false' }] }, 'gateway.routes[0].websocket'],
    [
      'an affinity that no header can have',
      { routes: [{ ...routes[0], affinity: { header: 'x y' } }] },
      'gateway.routes[0].affinity',
    ],
    [
      'an ejection that is longer than the longest',
      { routes, ejection: { duration: '5m', maxDuration: '1s' } },
      'gateway.ejection.maxDuration',
    ],
    ['a time limit that no timer has', { routes, timeouts: { idle: '30d' } }, 'gateway.timeouts.idle'],
    [
      'a time limit of a route that no timer has',
      { routes: [{ ...routes[0], timeouts: { headers: '30d' } }] },
      'gateway.routes[0].timeouts.headers',
    ],
    ['an interval that no timer has', { routes, probes: { interval: '30d' } }, 'gateway.probes.interval'],
    [
      'a time limit for Redis that no timer has',
      { routes, maintenance: { redis: { get() {} }, timeout: '30d' } },
      'gateway.maintenance.timeout',
    ],
    [
      'a route that has the key of the list of tenants',
      { routes: [{ ...routes[0], name: 'tenants' }], maintenance: { redis: { get() {} } } },
      'no route can be called "tenants"',
    ],
    [
      'an interval of nothing',
      { routes, maintenance: { redis: { get() {} }, interval: 0 } },
      'gateway.maintenance.interval',
    ],
  ]

  it.each(wrong)('refuses %s by its path', async (_name, options, message) => {
    await expect(createGateway(options as GatewayOptions)).rejects.toThrow(message)
    await expect(createGateway(options as GatewayOptions)).rejects.toBeInstanceOf(TypeError)
  })

  it('adds headers to its own, and drops those that are false', () => {
    const read = (securityHeaders: GatewayOptions['securityHeaders']): readonly string[] =>
      resolveGatewayOptions({ routes, ...(securityHeaders === undefined ? {} : { securityHeaders }) })
        .securityHeaders
    expect(read(undefined)).toEqual(Object.entries(gatewaySecurityHeaders).flat())
    expect(read({ 'X-Own': '1', 'x-frame-options': false })).toEqual([
      'x-content-type-options',
      'nosniff',
      'referrer-policy',
      'no-referrer',
      'x-own',
      '1',
    ])
    expect(read(false)).toEqual([])
  })

  it('does not show a short token', async () => {
    const options = { routes, maintenance: { redis: { get: async () => null }, allow: { token: 'hunter2' } } }
    await expect(createGateway(options)).rejects.toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2') }),
    )
  })
})
