import { generateKeyPairSync, hash, randomUUID, sign } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { procedure, route, service, silentLogger } from '@quintet/core'
import { createPipeline, type RunningTransport } from '@quintet/core/kit'
import { createTestHost } from '@quintet/core/testing'
import { http } from '@quintet/server'
import type { Redis } from 'ioredis'
import { calculateJwkThumbprint } from 'jose/jwk/thumbprint'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createDpopNonces, steppedUp } from '../../src/index.ts'
import { createTestAuth, type TestAuth } from '../../src/testing.ts'
import { connect } from '../support/redis.ts'

const account = service('account', {
  me: procedure({ access: 'authenticated' }, ({ principal }) => principal.userId),
  close: procedure({ access: steppedUp({ aal: 2, maxAge: '5m' }) }, () => 'closed'),
})
/** Two routes for one path, of which the first passes the request on. */
const passedOn = [
  route({ method: 'GET', pattern: '/me', access: 'authenticated', handler: () => null }),
  route({
    method: 'GET',
    pattern: '/me',
    access: 'authenticated',
    handler: (_request, { principal }) => Response.json(principal.userId),
  }),
]

let redis: Redis
let auth: TestAuth
let app: { readonly running: RunningTransport; close(): Promise<void> }
beforeAll(async () => {
  redis = connect()
  const nonces = createDpopNonces({ secret: 'n'.repeat(32) })
  auth = await createTestAuth({ redis, manager: { dpop: { nonces } } })
  const host = createTestHost({ services: [account], routes: passedOn })
  const pipeline = createPipeline({ logger: silentLogger, auth: auth.manager })
  const running = await http({ websocket: {}, cors: ['https://app.test'] }).start({ ...host, pipeline })
  app = {
    running,
    async close() {
      await running.close()
      await host.close()
    },
  }
})
afterAll(async () => {
  await app.close()
  await auth.close()
  redis.disconnect()
})

/** A client after RFC 9449: takes the nonce of the last answer, and asks again with it when it is told to. */
async function dpopClient(): Promise<{
  authorization: string
  proof(method: string, path: string): string
  heed(nonce: string | null): void
}> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = publicKey.export({ format: 'jwk' })
  const jkt = await calculateJwkThumbprint(jwk as Parameters<typeof calculateJwkThumbprint>[0])
  const { accessToken } = await auth.signIn({ jkt })
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  let nonce: string | undefined
  return {
    authorization: `DPoP ${accessToken}`,
    heed: (given) => (nonce = given ?? undefined),
    proof(method, path) {
      const claims = {
        jti: randomUUID(),
        htm: method,
        htu: `${app.running.url}${path}`,
        iat: Math.floor(auth.clock.now() / 1_000),
        ath: hash('sha256', accessToken, 'base64url'),
        nonce,
      }
      const input = `${encode({ typ: 'dpop+jwt', alg: 'ES256', jwk })}.${encode(claims)}`
      const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const
      return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`
    },
  }
}

type Client = Awaited<ReturnType<typeof dpopClient>>

function send(client: Client, method: string, path: string, body?: unknown): Promise<Response> {
  const headers = { authorization: client.authorization, dpop: client.proof(method, path) }
  return fetch(`${app.running.url}${path}`, {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
}

/** Asks for an upgrade; the answer that refuses it, or undefined. */
async function upgrade(client: Client): Promise<IncomingMessage | undefined> {
  const socket = new WebSocket(`${app.running.url?.replace(/^http/, 'ws')}/ws`, 'quintet.rpc.v1', {
    headers: { authorization: client.authorization, dpop: client.proof('GET', '/ws') },
  })
  socket.on('error', () => {})
  const opened = once(socket, 'open').then(() => undefined)
  const refused = once(socket, 'unexpected-response').then(([, answer]) => answer as IncomingMessage)
  const answer = await Promise.race([opened, refused])
  socket.terminate()
  return answer
}

describe('a proof of possession over http()', () => {
  it('that lacks a nonce is refused with one, and passes with it at the second try', async () => {
    const client = await dpopClient()
    const refused = await send(client, 'POST', '/rpc/account/me')
    expect(refused.status).toBe(401)
    expect(refused.headers.get('www-authenticate')).toMatch(/^DPoP realm="api", error="use_dpop_nonce"/)
    client.heed(refused.headers.get('dpop-nonce'))
    const answer = await send(client, 'POST', '/rpc/account/me')
    expect([answer.status, await answer.json()]).toEqual([200, 'alice'])
  })

  it('is good for all calls of a batch, which is told the nonce in the same way', async () => {
    const client = await dpopClient()
    const calls = [1, 2, 3].map((id) => ({ id, method: 'account.me' }))
    const refused = await send(client, 'POST', '/rpc', calls)
    expect(refused.headers.get('www-authenticate')).toContain('use_dpop_nonce')
    client.heed(refused.headers.get('dpop-nonce'))
    const answer = await send(client, 'POST', '/rpc', calls)
    expect(await answer.json()).toEqual(calls.map(({ id }) => ({ id, output: 'alice' })))
    expect(answer.headers.get('www-authenticate')).toBeNull()
  })

  it('is good for a second route, when the first passes the request on', async () => {
    const client = await dpopClient()
    client.heed((await send(client, 'GET', '/me')).headers.get('dpop-nonce'))
    expect(await (await send(client, 'GET', '/me')).json()).toBe('alice')
  })

  it('opens a WebSocket after the nonce of the refusal', async () => {
    const client = await dpopClient()
    const refused = await upgrade(client)
    expect([refused?.statusCode, refused?.headers['www-authenticate']]).toEqual([
      401,
      expect.stringContaining('use_dpop_nonce'),
    ])
    client.heed(String(refused?.headers['dpop-nonce']))
    expect(await upgrade(client)).toBeUndefined()
  })

  it('is made anew by a page of an allowed origin, which may read nonce and challenge', async () => {
    const answer = await fetch(`${app.running.url}/rpc/account/me`, {
      method: 'POST',
      headers: { origin: 'https://app.test' },
    })
    const exposed = answer.headers.get('access-control-expose-headers')?.split(', ')
    expect(exposed).toEqual(expect.arrayContaining(['dpop-nonce', 'www-authenticate']))
  })
})

describe('a refusal over http()', () => {
  it('says what a step-up must reach (RFC 9470)', async () => {
    const answer = await fetch(`${app.running.url}/rpc/account/close`, {
      method: 'POST',
      headers: await auth.authorization(),
    })
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([
      403,
      expect.stringMatching(/error="insufficient_user_authentication".*acr_values="aal2", max_age="300"/),
    ])
  })

  it('names no error to a caller without credentials, and has no challenge where none would help', async () => {
    const none = await fetch(`${app.running.url}/rpc/account/me`, { method: 'POST' })
    expect(none.headers.get('www-authenticate')).toBe('Bearer realm="api"')
    const unknown = await fetch(`${app.running.url}/rpc/account/nothing`, { method: 'POST' })
    expect([unknown.status, unknown.headers.get('www-authenticate')]).toEqual([404, null])
  })
})
