import {
  generateKeyPairSync,
  hash,
  randomUUID,
  sign as signBytes,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import { calculateJwkThumbprint } from 'jose/jwk/thumbprint'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Redis } from 'ioredis'
import { createTrackedCache } from '@quintet/redis'
import { startPrivateRedis } from '@quintet/test-kit'
import { createDpopNonces, createDpopVerifier, type TrackedSessions } from '../../src/index.ts'
import { createTestAuth, type TestAuth } from '../../src/testing.ts'
import { codeOf } from '../support/code-of.ts'
import { connect } from '../support/redis.ts'

let redis: Redis
let auth: TestAuth
beforeAll(async () => {
  redis = connect()
  auth = await createTestAuth({ redis })
})
afterAll(async () => {
  await auth.close()
  redis.disconnect()
})

interface Prover {
  readonly jkt: string
  readonly privateJwk: JsonWebKey
  prove(claims: object, header?: object, raw?: string): string
}

async function prover(): Promise<Prover> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = publicKey.export({ format: 'jwk' })
  const jkt = await calculateJwkThumbprint(jwk as Parameters<typeof calculateJwkThumbprint>[0])
  return {
    jkt,
    privateJwk: privateKey.export({ format: 'jwk' }),
    prove: (claims, header = {}, raw) => proof(privateKey, jwk, claims, header, raw),
  }
}

function proof(key: KeyObject, jwk: JsonWebKey, claims: object, header: object, raw?: string): string {
  const encode = (text: string): string => Buffer.from(text).toString('base64url')
  const head = JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk, ...header })
  const input = `${encode(head)}.${encode(raw ?? JSON.stringify(claims))}`
  return `${input}.${signBytes('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

const url = 'https://api.test/objects?page=2'
const method = 'POST'

function claimsFor(accessToken: string): Record<string, unknown> {
  return {
    jti: randomUUID(),
    htm: method,
    htu: 'https://api.test/objects',
    iat: Math.floor(auth.clock.now() / 1_000),
    ath: hash('sha256', accessToken, 'base64url'),
  }
}

describe('a token that is bound to a key', () => {
  it('passes with a proof by that key, for this method, URL and token', async () => {
    const { jkt, prove } = await prover()
    const { accessToken: token } = await auth.signIn({ jkt })
    const credentials = { scheme: 'dpop', token, proof: prove(claimsFor(token)), method, url } as const
    expect(await auth.manager.authenticate(credentials)).toMatchObject({ userId: 'alice' })
  })

  it('does not pass as a bearer token, nor does a bearer token with a proof', async () => {
    const { jkt, prove } = await prover()
    const { accessToken: bound } = await auth.signIn({ jkt })
    expect(await codeOf(auth.manager.authenticate({ scheme: 'bearer', token: bound }))).toBe(
      'ERR_AUTH_TOKEN_INVALID',
    )
    const { accessToken: token } = await auth.signIn()
    const credentials = { scheme: 'dpop', token, proof: prove(claimsFor(token)), method, url } as const
    expect(await codeOf(auth.manager.authenticate(credentials))).toBe('ERR_AUTH_TOKEN_INVALID')
  })

  it('does not pass as a bearer token from memory either, nor twice with one proof', async () => {
    let cache: TrackedSessions | undefined
    await using tracked = await createTestAuth({
      redis,
      manager: {
        freshness: 'tracked',
        track: (options) => (cache = createTrackedCache({ client: redis, ...options })),
      },
    })
    await cache?.whenTrusted()
    const { jkt, prove } = await prover()
    const { accessToken: token } = await tracked.signIn({ jkt })
    const iat = Math.floor(tracked.clock.now() / 1_000)
    const withProof = {
      scheme: 'dpop',
      token,
      proof: prove({ ...claimsFor(token), iat }),
      method,
      url,
    } as const
    expect(await codeOf(tracked.manager.authenticate(withProof))).toBe('resolved')
    for (let count = 0; count < 3; count++) {
      expect(await codeOf(tracked.manager.authenticate({ scheme: 'bearer', token }))).toBe(
        'ERR_AUTH_TOKEN_INVALID',
      )
      expect(await codeOf(tracked.manager.authenticate({ ...withProof }))).toBe('ERR_AUTH_DPOP_INVALID')
    }
  })

  it('passes each time that one request is checked', async () => {
    const { jkt, prove } = await prover()
    const { accessToken: token } = await auth.signIn({ jkt })
    const credentials = { scheme: 'dpop', token, proof: prove(claimsFor(token)), method, url } as const
    const checks = [1, 2].map(() => codeOf(auth.manager.authenticate(credentials)))
    expect([...(await Promise.all(checks)), await codeOf(auth.manager.authenticate(credentials))]).toEqual([
      'resolved',
      'resolved',
      'resolved',
    ])
    expect(await codeOf(auth.manager.authenticate({ ...credentials }))).toBe('ERR_AUTH_DPOP_INVALID')
  })

  it('passes once for each proof', async () => {
    const { jkt, prove } = await prover()
    const { accessToken: token } = await auth.signIn({ jkt })
    const credentials = { scheme: 'dpop', token, proof: prove(claimsFor(token)), method, url } as const
    const codes = await Promise.all(
      Array.from({ length: 10 }, () => codeOf(auth.manager.authenticate({ ...credentials }))),
    )
    expect(codes.filter((code) => code === 'resolved')).toHaveLength(1)
    expect(codes.filter((code) => code === 'ERR_AUTH_DPOP_INVALID')).toHaveLength(9)
  })

  it('does not pass with any other proof', async () => {
    const { jkt, prove, privateJwk } = await prover()
    const other = await prover()
    const { accessToken: token } = await auth.signIn({ jkt })
    const good = (): Record<string, unknown> => claimsFor(token)
    const iat = Math.floor(auth.clock.now() / 1_000)
    const bad: Readonly<Record<string, string>> = {
      'by another key': other.prove(good()),
      'for another method': prove({ ...good(), htm: 'GET' }),
      'for another path': prove({ ...good(), htu: 'https://api.test/other' }),
      'for another host': prove({ ...good(), htu: 'https://evil.test/objects' }),
      'without a URL': prove({ ...good(), htu: undefined }),
      'for another token': prove({ ...good(), ath: hash('sha256', 'other', 'base64url') }),
      'without the token': prove({ ...good(), ath: undefined }),
      'too old': prove({ ...good(), iat: iat - 61 }),
      'from the future': prove({ ...good(), iat: iat + 10 }),
      'without a time': prove({ ...good(), iat: undefined }),
      'without an id': prove({ ...good(), jti: undefined }),
      'with an empty id': prove({ ...good(), jti: '' }),
      'with another type': prove(good(), { typ: 'JWT' }),
      'with alg none': prove(good(), { alg: 'none' }),
      'with HS256': prove(good(), { alg: 'HS256' }),
      'without a key': prove(good(), { jwk: undefined }),
      'with a private key': prove(good(), { jwk: privateJwk }),
      'with a symmetric key': prove(good(), { jwk: { kty: 'oct', k: 'A'.repeat(43) } }),
      'with crit': prove(good(), { crit: ['x'] }),
      'with jku': prove(good(), { jku: 'https://evil.test' }),
      'with a duplicate claim': prove({}, {}, `{"htm":"GET",${JSON.stringify(good()).slice(1)}`),
      'that is no token': 'x.y.z',
      'that is too long': 'a'.repeat(5_000),
      'that is an access token': token,
    }
    for (const [name, given] of Object.entries(bad)) {
      const credentials = { scheme: 'dpop', token, proof: given, method, url } as const
      expect(await codeOf(auth.manager.authenticate(credentials)), name).toBe('ERR_AUTH_DPOP_INVALID')
    }
  })

  it('must carry a nonce where the manager is told to ask for one', async () => {
    const nonces = createDpopNonces({ secret: auth.secrets.dpopNonce })
    await using strict = await createTestAuth({ redis, manager: { dpop: { nonces, window: '2m' } } })
    const { jkt, prove } = await prover()
    const { accessToken: token } = await strict.signIn({ jkt })
    const iat = Math.floor(strict.clock.now() / 1_000) - 100
    const attempt = (nonce?: string): Promise<string> => {
      const given = prove({ ...claimsFor(token), iat, nonce })
      return codeOf(strict.manager.authenticate({ scheme: 'dpop', token, proof: given, method, url }))
    }
    expect(await attempt()).toBe('ERR_AUTH_DPOP_NONCE_REQUIRED')
    expect(await attempt(nonces.issue())).toBe('resolved')
  })

  it('is refreshed through a verifier at the refresh endpoint', async () => {
    const { jkt, prove } = await prover()
    const tokens = await auth.signIn({ jkt })
    const verifier = createDpopVerifier({ redis, clock: auth.clock })
    const { ath: _, ...claims } = claimsFor('')
    const proved = await verifier.verify(prove(claims), { method, url, accessToken: undefined })
    expect(proved).toBe(jkt)
    expect((await auth.authority.refresh(tokens.refreshToken, { jkt: proved })).tokenType).toBe('DPoP')
  })
})

describe('createDpopVerifier', () => {
  it('accepts a proof for the window that it is given', async () => {
    const { prove } = await prover()
    const verifier = createDpopVerifier({ redis, clock: auth.clock, window: '5m', clockTolerance: 0 })
    const iat = Math.floor(auth.clock.now() / 1_000)
    const request = { method, url, accessToken: undefined }
    const at = (time: number): string => prove({ ...claimsFor(''), iat: time })
    expect(await codeOf(verifier.verify(at(iat - 290), request))).toBe('resolved')
    expect(await codeOf(verifier.verify(at(iat - 310), request))).toBe('ERR_AUTH_DPOP_INVALID')
    expect(await codeOf(verifier.verify(at(iat + 2), request))).toBe('ERR_AUTH_DPOP_INVALID')
    expect(() => createDpopVerifier({ redis, windw: 1 } as never)).toThrow('Did you mean "window"?')
  })

  it('remembers a proof for as long as any clock within the tolerance may take it for a young one', async () => {
    const { prove, jkt } = await prover()
    const verifier = createDpopVerifier({ redis, clock: auth.clock, window: '2s', clockTolerance: '5s' })
    await verifier.verify(prove(claimsFor('')), { method, url, accessToken: undefined })
    const [key = ''] = await redis.keys(`dpop:{${jkt}}:*`)
    // Made 5 s ahead of this clock, and seen by one that is 5 s behind.
    expect(await redis.pttl(key)).toBeGreaterThan(11_000)
  })

  it('waits for Redis no longer than it is told, and lets nothing through meanwhile', async () => {
    await using server = await startPrivateRedis()
    const client = connect(server.url)
    await client.ping()
    const { prove } = await prover()
    const verifier = createDpopVerifier({ redis: client, clock: auth.clock, commandTimeout: 30 })
    server.freeze()
    const started = performance.now()
    const request = { method, url, accessToken: undefined }
    expect(await codeOf(verifier.verify(prove(claimsFor('')), request))).toBe('ERR_AUTH_UNAVAILABLE')
    expect(performance.now() - started).toBeLessThan(300)
    server.thaw()
    client.disconnect()
  })

  it('demands its own nonce, gives it, and lets it run out', async () => {
    const { prove } = await prover()
    const nonces = createDpopNonces({ secret: auth.secrets.dpopNonce, lifetime: '1m', clock: auth.clock })
    const verifier = createDpopVerifier({ redis, clock: auth.clock, nonces })
    const request = { method, url, accessToken: undefined }
    const prove1 = (nonce?: unknown): string => prove({ ...claimsFor(''), nonce })
    const error = await verifier.verify(prove1(), request).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'ERR_AUTH_DPOP_NONCE_REQUIRED' })
    const { nonce } = (error as { details: { nonce: string } }).details
    expect(await codeOf(verifier.verify(prove1(nonce), request))).toBe('resolved')
    for (const wrong of [`${nonce}x`, '', 'a.b', 7]) {
      expect(await codeOf(verifier.verify(prove1(wrong), request))).toBe('ERR_AUTH_DPOP_NONCE_REQUIRED')
    }
    expect(() => createDpopNonces({ secret: auth.secrets.dpopNonce, lifetme: 1 } as never)).toThrow(
      '"lifetime"',
    )
    const others = createDpopNonces({ secret: auth.secrets.csrf, clock: auth.clock })
    expect(others.accepts(nonce)).toBe(false)
    let time = auth.clock.now()
    const moved = { now: () => time, monotonic: () => 0 }
    const early = createDpopNonces({ secret: auth.secrets.dpopNonce, clock: moved })
    time += 2_000
    const ahead = early.issue()
    expect(early.accepts(ahead)).toBe(true)
    time -= 2_000
    expect(early.accepts(ahead)).toBe(false)
    auth.clock.advance('61s')
    expect(await codeOf(verifier.verify(prove1(nonce), request))).toBe('ERR_AUTH_DPOP_NONCE_REQUIRED')
  })
})
