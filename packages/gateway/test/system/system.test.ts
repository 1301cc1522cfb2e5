import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { createApp } from '@quintet/core'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import system from '../../src/system/gateway-system.ts'
import { startUpstream, type Echo } from '../support/upstream.ts'

interface SilentNetwork extends AsyncDisposable {
  readonly port: number
  /** The connections that are open stay open, and let nothing through. */
  silence(): void
}

async function startSilentNetwork(target: number): Promise<SilentNetwork> {
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    }
    near.pipe(far)
    far.pipe(near)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    silence() {
      for (const socket of sockets) socket.unpipe().resume()
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

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

  it('gives up a connection to Redis that lets nothing through any more', async () => {
    await using upstream = await startUpstream()
    await using server = await startPrivateRedis()
    await using network = await startSilentNetwork(Number(new URL(server.url).port))
    const app = await createApp(system, {
      env: {
        GATEWAY_ROUTES: JSON.stringify([{ name: 'media', path: '/api/media/', upstreams: [upstream.url] }]),
        GATEWAY_REDIS__URL: `redis://127.0.0.1:${network.port}`,
      },
      ports: { http: 0 },
    })
    const url = app.transports.get('http')?.url
    expect((await fetch(`${url}/api/media/x`)).status).toBe(200)
    network.silence()
    const redis = new Redis(server.url)
    await redis.set('platform:maintenance', '1')
    redis.disconnect()
    await until(async () => (await fetch(`${url}/api/media/x`)).status === 503, 10_000)
    await app.stop()
  })

  it('takes as long headers as its environment says', async () => {
    await using upstream = await startUpstream((request, response) => {
      response.writeHead(200, { 'x-long': 'a'.repeat(Number(request.headers['x-wanted'])) }).end()
    })
    const env = {
      GATEWAY_ROUTES: JSON.stringify([{ name: 'media', path: '/api/media/', upstreams: [upstream.url] }]),
      GATEWAY_MAX_HEADER_SIZE: '8kb',
      GATEWAY_MAX_RESPONSE_HEADER_SIZE: '2048',
    }
    await using app = await createApp(system, { env, ports: { http: 0 } })
    const ask = async (sent: number, wanted: number): Promise<number> => {
      const headers = { 'x-sent': 'a'.repeat(sent), 'x-wanted': String(wanted) }
      return (await fetch(`${app.transports.get('http')?.url}/api/media/x`, { headers })).status
    }
    expect(await ask(6_000, 1_000)).toBe(200)
    expect(await ask(12_000, 1_000)).toBe(431)
    expect(await ask(1_000, 3_000)).toBe(502)
  })

  it.each([
    ['no routes', {}, 'routes'],
    ['routes that are no JSON', { GATEWAY_ROUTES: '[' }, 'routes: must be JSON'],
    ['routes that are no list', { GATEWAY_ROUTES: '{}' }, 'is not a list'],
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
