import { connect } from 'node:net'
import { createApp, defineProcess, defineSystem, route, silentLogger, type Transport } from '@quintet/core'
import { defineEcosystem, type Ecosystem } from '@quintet/core/ecosystem'
import { createGateway } from '@quintet/gateway'
import { http, websocket } from '@quintet/server'
import { describe, expect, it } from 'vitest'
import { planGateway } from '../../src/plan/plan-gateway.ts'
import type { PlannedProcess } from '../../src/plan/plan.ts'

const withGateway = (config: Record<string, unknown>): Ecosystem =>
  defineEcosystem({
    project: 'p',
    apps: [{ name: 'app', bootstrap: './app.ts' }],
    infrastructure: { services: { gateway: { preset: 'quintet', config } } },
  })

const main = defineProcess({
  routes: [
    route({
      method: 'GET',
      pattern: '/.well-known/oauth-authorization-server',
      access: 'public',
      handler: () => Response.json({ issuer: 'https://app.example' }),
    }),
  ],
})

/** Runs an app with these transports and a gateway with the routes that are derived from them. */
async function run(
  transports: Record<string, Transport>,
  config: Record<string, unknown> = {},
): Promise<{ own: (transport: string) => string; front: string } & AsyncDisposable> {
  const app = await createApp(
    defineSystem({
      name: 'app',
      version: '1.0.0',
      processes: [{ name: 'main', module: async () => ({ default: main }), transports }],
    }),
    { logger: silentLogger },
  )
  const own = (transport: string): string =>
    new URL(app.transports.get(transport)?.url?.replace('ws:', 'http:') ?? '').origin
  const ports = Object.fromEntries(Object.keys(transports).map((name) => [name, 0]))
  const planned = { id: 'app/main', app: 'app', process: 'main', ports } as unknown as PlannedProcess
  const gateway = planGateway(
    withGateway(config),
    [planned],
    '/',
    (_process, name) => transports[name]?.webSocket,
  )
  const front = await createGateway({
    port: 0,
    routes: (gateway?.plan.routes ?? []).map(({ upstreams, ...route }) => ({
      ...route,
      upstreams: upstreams.map(({ transport }) => own(transport)),
    })),
  })
  return {
    own,
    front: front.url,
    async [Symbol.asyncDispose]() {
      await front.close()
      await app[Symbol.asyncDispose]()
    },
  }
}

/** The status of the answer to a WebSocket handshake. */
async function handshake(url: string, path: string): Promise<number> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: quintet.v1\r\n\r\n`,
  )
  const [head] = await new Promise<[Buffer]>((resolve, reject) => {
    socket.once('data', (chunk) => resolve([chunk]))
    socket.once('error', reject)
  })
  socket.destroy()
  return Number(head.toString('latin1').slice(9, 12))
}

describe('the derived routes', () => {
  it.each([
    [{}, '/ws'],
    [{ path: '/live' }, '/live'],
  ])('open the WebSockets of http({ websocket: %j })', async (options, path) => {
    await using running = await run({ http: http({ port: 0, websocket: options }) })
    const direct = await handshake(running.own('http'), path)
    expect(direct).not.toBe(404)
    expect(await handshake(running.front, `/api/app${path}`)).toBe(direct)
    expect(await handshake(running.front, '/api/app/other')).toBe(404)
  })

  it('leave a port without WebSockets closed to them', async () => {
    await using running = await run({ http: http({ port: 0 }) })
    expect(await handshake(running.front, '/api/app/ws')).toBe(404)
    expect(await handshake(running.front, '/ws/app/')).toBe(404)
  })

  it.each(['/ws', '/', '/deep/ws'])('open websocket({ path: %j }) where it listens', async (path) => {
    // Its name tells nothing; its port takes nothing else.
    await using running = await run({
      http: http({ port: 0 }),
      live: websocket({ name: 'live', port: 0, path }),
    })
    const direct = await handshake(running.own('live'), path)
    expect(direct).not.toBe(404)
    for (const front of ['/ws/app/', '/ws/app', '/ws/', '/ws'])
      expect(await handshake(running.front, front)).toBe(direct)
    expect((await fetch(`${running.front}/api/app/openapi.json`)).status).toBe(200)
  })

  it('lead to the well-known resources of an app as RFC 8414 has them asked for', async () => {
    const wellKnown = { app: ['oauth-authorization-server'] }
    await using running = await run({ http: http({ port: 0 }) }, { wellKnown })
    const ask = async (path: string): Promise<unknown> => {
      const answer = await fetch(running.front + path)
      return answer.status === 200 ? await answer.json() : answer.status
    }
    const metadata = { issuer: 'https://app.example' }
    expect(await ask('/api/app/.well-known/oauth-authorization-server')).toEqual(metadata)
    expect(await ask('/.well-known/oauth-authorization-server/api/app')).toEqual(metadata)
    expect(await ask('/.well-known/oauth-authorization-server/api/other')).toBe(404)
    expect(await ask('/.well-known/oauth-authorization-server')).toBe(404)
    expect(await ask('/.well-known/openid-configuration/api/app')).toBe(404)
  })

  it.each([
    [{ app: ['../secret'] }, 'wellKnown.app[0]'],
    [{ other: ['jwks'] }, 'wellKnown: unknown'],
    [['app'], 'wellKnown'],
  ])('refuse %j as well-known resources', async (wellKnown, reason) => {
    await expect(run({ http: http({ port: 0 }) }, { wellKnown })).rejects.toThrow(reason)
  })

  it('have the options that the ecosystem file gives them', async () => {
    const routes = { app: { maxRequestSize: 10 } }
    await using running = await run({ http: http({ port: 0 }) }, { routes })
    const post = async (body: string): Promise<number> =>
      (await fetch(`${running.front}/api/app/x`, { method: 'POST', body })).status
    expect(await post('a'.repeat(10))).toBe(404)
    expect(await post('a'.repeat(11))).toBe(413)
  })

  it.each([
    [{ other: {} }, 'config.routes: unknown'],
    [{ app: { upstreams: ['http://a'] } }, 'config.routes.app.upstreams: follows from the app'],
    [{ app: 10 }, 'config.routes.app: must be options'],
    [[], 'config.routes'],
  ])('refuse %j as what they are to have', async (routes, reason) => {
    await expect(run({ http: http({ port: 0 }) }, { routes })).rejects.toThrow(reason)
  })

  it('name paths that contradict one another', async () => {
    const transports = {
      a: websocket({ name: 'a', port: 0, path: '/a' }),
      b: websocket({ name: 'b', port: 0, path: '/b' }),
    }
    await expect(run(transports)).rejects.toThrow('the paths /a and /b')
  })
})
