import { silentLogger } from '@quintet/core'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { generateKeyPairSync } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose/jwk/thumbprint'
import { afterEach, describe, expect, it } from 'vitest'
import { until } from '@quintet/test-kit'
import {
  createKeyRing,
  createTokenVerifier,
  jwksAnswer,
  keySet,
  remoteJwks,
  serveJwks,
  type Jwk,
  type JwkSet,
  type RemoteJwksOptions,
} from '../../src/index.ts'
import { createJwtAuthManager } from '../../src/manager/create-jwt-auth-manager.ts'
import type { KeyInput, KeyRing } from '../../src/index.ts'
import { generateJwk } from '../../src/keys/key-material.ts'
import { createTestClock } from '../../src/testing.ts'
import { signAccessToken } from '../../src/tokens/sign-access-token.ts'
import { codeOf } from '../support/code-of.ts'

async function tokenOf(ring: KeyRing, now: number): Promise<string> {
  const iat = Math.floor(now / 1_000)
  const ids = { iss: 'i', aud: 'a', sub: 'u', sid: 's', tid: 't' }
  return await signAccessToken({ ...ids, roles: [], permissions: [], iat, exp: iat + 300 }, ring.signer())
}

describe('createKeyRing', () => {
  it.each(['Ed25519', 'ES256', 'HS256'] as const)(
    'signs with %s, under the name that RFC 9864 gives',
    async (algorithm) => {
      const ring = await createKeyRing({ algorithm })
      const token = await tokenOf(ring, Date.now())
      const header = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as unknown
      expect(header).toEqual({ alg: algorithm, kid: ring.signer().kid, typ: 'at+jwt' })
      const verifier = createTokenVerifier({ keys: ring, issuer: 'i', audience: 'a' })
      expect((await verifier.verify(token)).claims.sub).toBe('u')
    },
  )

  it('shows public keys alone, and none for HS256', async () => {
    const ring = await createKeyRing()
    const [key] = ring.jwks().keys
    expect(Object.keys(key ?? {}).toSorted()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x'])
    expect(key?.kid).toBe(await calculateJwkThumbprint(key as Parameters<typeof calculateJwkThumbprint>[0]))
    expect((await createKeyRing({ algorithm: 'HS256' })).jwks().keys).toEqual([])
  })

  it('keeps its keys when the time of day jumps', async () => {
    const steady = createTestClock()
    let jump = 0
    const clock = { now: () => steady.now() + jump, monotonic: () => steady.monotonic() }
    const ring = await createKeyRing({ clock, prepublish: '10m', retain: '6m' })
    const first = ring.signer().kid
    await ring.prepublish()
    jump = 3_600_000
    expect(() => ring.rotate()).toThrow('must be published for another 600 s')
    jump = 0
    steady.advance('10m')
    ring.rotate()
    jump = 3_600_000
    expect(ring.list()).toHaveLength(2)
    jump = 0
    expect(await ring.find(first)).toBeDefined()
    steady.advance('6m')
    expect(ring.list()).toHaveLength(1)
  })

  it('goes through its states without refusing a good token', async () => {
    const clock = createTestClock()
    const ring = await createKeyRing({ clock, prepublish: '10m', retain: '6m' })
    const verifier = createTokenVerifier({ keys: ring, issuer: 'i', audience: 'a', clock })
    const first = ring.signer().kid
    expect(() => ring.rotate()).toThrow('no prepublished key')
    const second = await ring.prepublish()
    expect(ring.signer().kid).toBe(first)
    expect(ring.jwks().keys.map(({ kid }) => kid)).toEqual([first, second])
    expect(() => ring.rotate()).toThrow('must be published for another 600 s')
    clock.advance('10m')
    const before = await tokenOf(ring, clock.now())
    expect(ring.rotate()).toMatchObject({ kid: second, state: 'signing' })
    const after = await tokenOf(ring, clock.now())
    await verifier.verify(before)
    await verifier.verify(after)
    expect(ring.list().map(({ state }) => state)).toEqual(['verify-only', 'signing'])
    clock.advance('4m')
    expect(await codeOf(verifier.verify(before))).toBe('resolved')
    clock.advance('2m')
    expect(ring.list().map(({ kid }) => kid)).toEqual([second])
    expect(await ring.find(first)).toBeUndefined()
  })

  it('keeps a former key for as long as the tokens of an authority live, however short it was told to', async () => {
    const clock = createTestClock()
    const ring = await createKeyRing({ clock, prepublish: 0, retain: '1m' })
    ring.retainAtLeast(20 * 60_000)
    ring.retainAtLeast(1)
    const verifier = createTokenVerifier({
      keys: ring,
      issuer: 'i',
      audience: 'a',
      clock,
      clockTolerance: '20m',
    })
    const former = ring.signer().kid
    const token = await tokenOf(ring, clock.now())
    await ring.prepublish()
    ring.rotate()
    clock.advance('19m')
    expect(await codeOf(verifier.verify(token))).toBe('resolved')
    clock.advance('61s')
    expect(await ring.find(former)).toBeUndefined()
    expect(await codeOf(verifier.verify(token))).toBe('ERR_AUTH_TOKEN_INVALID')
  })

  it('refuses at once what a dropped key has signed, remembered or not', async () => {
    const ring = await createKeyRing({ prepublish: 0 })
    const verifier = createTokenVerifier({ keys: ring, issuer: 'i', audience: 'a' })
    const next = await ring.prepublish()
    const token = await tokenOf(ring, Date.now())
    await verifier.verify(token)
    expect(verifier.recall(token)).toBeDefined()
    ring.drop(ring.signer().kid)
    expect(verifier.recall(token)).toBeUndefined()
    expect(await codeOf(verifier.verify(token))).toBe('ERR_AUTH_TOKEN_INVALID')
    expect(ring.signer().kid).toBe(next)
    ring.drop(next)
    expect(() => ring.signer()).toThrow(expect.objectContaining({ code: 'ERR_AUTH_NO_SIGNING_KEY' }))
  })

  it('takes keys from PEM, JWK and a secret, and gives them back to be stored', async () => {
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    const fromPem = await createKeyRing({ keys: [{ pem: { reveal: () => pem }, kid: 'pem-1' }] })
    expect(fromPem.signer().kid).toBe('pem-1')
    const again = await createKeyRing({ keys: fromPem.export() })
    const verifier = createTokenVerifier({ keys: again, issuer: 'i', audience: 'a' })
    await verifier.verify(await tokenOf(fromPem, Date.now()))
    const secret = 's'.repeat(32)
    const [one, two] = await Promise.all(
      [1, 2].map(() => createKeyRing({ algorithm: 'HS256', keys: [{ secret }] })),
    )
    expect(one?.signer().kid).toBe(two?.signer().kid)
  })

  it('takes keys up in the state and since the time that they were in', async () => {
    const clock = createTestClock()
    const made = await Promise.all([1, 2, 3].map(() => createKeyRing({ clock })))
    const [one, two, three] = made.map((ring) => ({
      jwk: ring.export()[0]?.jwk ?? {},
      kid: ring.signer().kid,
    }))
    const ring = await createKeyRing({
      clock,
      keys: [
        { ...one, state: 'verify-only', since: clock.now() - 4 * 60_000 },
        { ...two, state: 'signing' },
        { ...three, state: 'prepublished', since: clock.now() - 14 * 60_000 },
      ],
    })
    expect(ring.signer().kid).toBe(two?.kid)
    expect(() => ring.rotate()).toThrow('another 60 s')
    clock.advance('1m')
    expect(ring.list().map(({ kid }) => kid)).toEqual([one?.kid, two?.kid, three?.kid])
    clock.advance('1m')
    expect(ring.list().map(({ kid }) => kid)).toEqual([two?.kid, three?.kid])
    expect(ring.rotate().kid).toBe(three?.kid)
    await expect(createKeyRing({ keys: [{ ...one, state: 'active' as never }] })).rejects.toThrow(
      'keys[0].state: "active" is not one of',
    )
    await expect(createKeyRing({ keys: [{ ...one, sinse: 1 } as never] })).rejects.toThrow(
      'Did you mean "since"?',
    )
  })

  it('takes over what another instance has stored, and forgets what is not in it', async () => {
    const [mine, other] = await Promise.all([createKeyRing(), createKeyRing()])
    const verifier = createTokenVerifier({ keys: mine, issuer: 'i', audience: 'a' })
    const before = await tokenOf(mine, Date.now())
    await verifier.verify(before)
    await mine.replace(other.export())
    expect(mine.signer().kid).toBe(other.signer().kid)
    expect(await codeOf(verifier.verify(before))).toBe('ERR_AUTH_TOKEN_INVALID')
    expect(await codeOf(verifier.verify(await tokenOf(other, Date.now())))).toBe('resolved')
    await expect(mine.replace([{ jwk: {} }])).rejects.toThrow('keys[0]')
    expect(mine.signer().kid).toBe(other.signer().kid)
  })

  it('refuses keys that do not fit, without showing them', async () => {
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
    const { d, ...publicHalf } = ec as { d: string }
    const failures = [
      { keys: [{ jwk: ec }] },
      { algorithm: 'ES256', keys: [{ jwk: publicHalf }] },
      { algorithm: 'ES256', keys: [{ jwk: { ...ec, use: 'enc' } }] },
      { keys: [{ pem: 'not a pem' }] },
      { keys: [{}] },
      { algorithm: 'HS256', keys: [{ secret: 'too short' }] },
      { algorithm: 'ES256', keys: [{ jwk: ec }, { jwk: ec }] },
      { algorithm: 'RS256' },
      { retian: 1 },
    ]
    for (const options of failures) {
      const error = await createKeyRing(options as never).then(
        () => undefined,
        (thrown: Error) => thrown,
      )
      expect(error).toBeInstanceOf(TypeError)
      expect(String(error)).not.toContain(d)
    }
  })
})

describe('serveJwks', () => {
  it('answers with the set, its media type and how to cache it', async () => {
    const ring = await createKeyRing()
    const response = serveJwks(ring, new Request('http://auth.test/jwks'), { maxAge: '2m' })
    expect(response.headers.get('content-type')).toBe('application/jwk-set+json')
    expect(response.headers.get('cache-control')).toBe('public, max-age=120')
    expect(await response.json()).toEqual(ring.jwks())
    const etag = response.headers.get('etag') ?? ''
    const again = serveJwks(
      ring,
      new Request('http://auth.test/jwks', { headers: { 'if-none-match': etag } }),
    )
    expect(again.status).toBe(304)
    expect(jwksAnswer(ring).body).toBe(JSON.stringify(ring.jwks()))
    const head = serveJwks(ring, new Request('http://auth.test/jwks', { method: 'HEAD' }))
    expect([head.status, head.headers.get('etag'), await head.text()]).toEqual([200, etag, ''])
    const post = serveJwks(ring, new Request('http://auth.test/jwks', { method: 'POST' }))
    expect([post.status, post.headers.get('allow'), await post.text()]).toEqual([405, 'GET, HEAD', ''])
    expect(() => jwksAnswer(ring, { maxage: 1 } as never)).toThrow('Did you mean "maxAge"?')
  })
})

const never = (): Promise<never> => Promise.reject(new Error('is not asked'))

describe('remoteJwks', () => {
  let server: Server | undefined
  let set: JwkSet | string = { keys: [] }
  let status = 200
  let fetches = 0

  async function serve(options: RemoteJwksOptions = {}): Promise<ReturnType<typeof remoteJwks>> {
    fetches = 0
    status = 200
    server = createServer((_request, response) => {
      fetches++
      response.writeHead(status).end(typeof set === 'string' ? set : JSON.stringify(set))
    })
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
    return remoteJwks(`http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`, options)
  }

  afterEach(async () => {
    server?.closeAllConnections()
    await new Promise((resolve) => server?.close(resolve))
  })

  it('fetches once for many callers, and keeps the set', async () => {
    const ring = await createKeyRing()
    set = ring.jwks()
    const keys = await serve()
    const kid = ring.signer().kid
    const found = await Promise.all(Array.from({ length: 20 }, () => keys.find(kid)))
    expect(found.every((key) => key?.kid === kid)).toBe(true)
    await keys.find(kid)
    expect(fetches).toBe(1)
  })

  it('is fetched again for whoever only asks whether a key has gone', async () => {
    const clock = createTestClock()
    const ring = await createKeyRing({ prepublish: 0 })
    await ring.prepublish()
    set = ring.jwks()
    const keys = await serve({ clock, cacheTtl: '30s' })
    const { kid } = ring.signer()
    await keys.find(kid)
    const before = keys.epoch
    ring.drop(kid)
    set = ring.jwks()
    clock.advance('29s')
    expect([keys.epoch, fetches]).toEqual([before, 1])
    clock.advance('2s')
    expect(await until(() => keys.epoch > before)).toBe(true)
    expect(await keys.find(kid)).toBeUndefined()
  })

  it.each(['empty', 'with keys for other purposes alone'])(
    'keeps the former set when the new one is %s',
    async (how) => {
      const clock = createTestClock()
      const ring = await createKeyRing()
      set = ring.jwks()
      const keys = await serve({ clock, cacheTtl: '1m' })
      const { kid } = ring.signer()
      await keys.find(kid)
      set = { keys: how === 'empty' ? [] : ring.jwks().keys.map((jwk) => ({ ...jwk, use: 'enc' })) }
      clock.advance('2m')
      expect((await keys.find(kid))?.kid).toBe(kid)
      clock.advance('2h')
      await expect(keys.find(kid)).rejects.toMatchObject({ code: 'ERR_AUTH_UNAVAILABLE' })
    },
  )

  it('is ready when the first set has come, and no more when none can be used', async () => {
    const clock = createTestClock()
    const ring = await createKeyRing()
    set = ring.jwks()
    const keys = await serve({ clock })
    status = 503
    await expect(keys.ready?.()).rejects.toMatchObject({ code: 'ERR_AUTH_UNAVAILABLE' })
    status = 200
    clock.advance('1s')
    await keys.ready?.()
    status = 503
    clock.advance('1h')
    await keys.ready?.()
    clock.advance('1h')
    await expect(keys.ready?.()).rejects.toMatchObject({ code: 'ERR_AUTH_UNAVAILABLE' })
    await using manager = createJwtAuthManager({
      logger: silentLogger,
      sessionRedis: { get: never, hmget: never, eval: never, evalsha: never },
      keys,
      issuer: 'i',
      audience: 'a',
      cnf: false,
    })
    const { name, critical, check } = manager.healthCheck()
    expect([name, critical]).toEqual(['token-keys', true])
    const how = { signal: new AbortController().signal } as never
    await expect(Promise.try(check, how)).rejects.toMatchObject({ code: 'ERR_AUTH_UNAVAILABLE' })
    status = 200
    clock.advance('1m')
    expect(await check(how)).toContain('known')
  })

  it('learns a new key when a token names it, but asks no more often than the cooldown', async () => {
    const clock = createTestClock()
    const ring = await createKeyRing({ prepublish: 0 })
    set = ring.jwks()
    const keys = await serve({ clock, cooldown: '10s' })
    await keys.find(ring.signer().kid)
    for (let index = 0; index < 50; index++) expect(await keys.find(`unknown-${index}`)).toBeUndefined()
    expect(fetches).toBe(1)
    const next = await ring.prepublish()
    set = ring.jwks()
    clock.advance('10s')
    expect((await keys.find(next))?.kid).toBe(next)
    expect(fetches).toBe(2)
  })

  it('fetches again after the ttl, and forgets what a withdrawn key has signed', async () => {
    const clock = createTestClock()
    const ring = await createKeyRing()
    set = ring.jwks()
    const keys = await serve({ clock, cacheTtl: '1m' })
    const verifier = createTokenVerifier({
      keys,
      issuer: 'i',
      audience: 'a',
      clock,
      tokenCache: { ttl: '30s' },
    })
    const token = await tokenOf(ring, clock.now())
    await verifier.verify(token)
    set = (await createKeyRing()).jwks()
    clock.advance('61s')
    expect(await codeOf(verifier.verify(token))).toBe('ERR_AUTH_TOKEN_INVALID')
    expect(keys.epoch).toBe(1)
  })

  it('forgets what a key has signed that was replaced under its id, and so does the ring', async () => {
    const clock = createTestClock()
    const fixed = (): KeyInput => ({ jwk: generateJwk('Ed25519'), kid: 'main' })
    const ring = await createKeyRing({ clock, keys: [fixed()] })
    set = ring.jwks()
    const remote = await serve({ clock, cacheTtl: '30s' })
    const verifiers = [ring, remote].map((keys) =>
      createTokenVerifier({ keys, issuer: 'i', audience: 'a', clock }),
    )
    const leaked = await tokenOf(ring, clock.now())
    for (const verifier of verifiers) await verifier.verify(leaked)
    await ring.replace(ring.export().map(({ jwk, kid }) => ({ jwk, kid })))
    for (const verifier of verifiers) expect(verifier.recall(leaked)).toBeDefined()
    await ring.replace([fixed()])
    set = ring.jwks()
    clock.advance('31s')
    await until(() => remote.epoch > 0)
    for (const verifier of verifiers)
      expect(await codeOf(verifier.verify(leaked))).toBe('ERR_AUTH_TOKEN_INVALID')
  })

  it('serves the old set while the issuer is down, for a bounded time, and then says unavailable', async () => {
    const clock = createTestClock()
    const ring = await createKeyRing()
    set = ring.jwks()
    const keys = await serve({ clock, cacheTtl: '1m', staleIfError: '5m', cooldown: '1s' })
    const kid = ring.signer().kid
    await keys.find(kid)
    status = 500
    clock.advance('2m')
    expect((await keys.find(kid))?.kid).toBe(kid)
    expect(await codeOf(keys.find('other'))).toBe('ERR_AUTH_UNAVAILABLE')
    clock.advance('5m')
    expect(await codeOf(keys.find(kid))).toBe('ERR_AUTH_UNAVAILABLE')
    status = 200
    clock.advance('2s')
    expect((await keys.find(kid))?.kid).toBe(kid)
  })

  it('keeps no one waiting for an issuer that hangs while the old set may still be used', async () => {
    const clock = createTestClock()
    const ring = await createKeyRing()
    const kid = ring.signer().kid
    let answer: () => Promise<Response> = async () => Response.json(ring.jwks())
    const keys = remoteJwks('https://auth.test/jwks', { clock, cacheTtl: '1m', fetch: () => answer() })
    await keys.find(kid)
    const never = Promise.withResolvers<Response>()
    answer = () => never.promise
    clock.advance('2m')
    expect((await keys.find(kid))?.kid).toBe(kid)
    never.reject(new Error('down'))
    await keys.find(kid)
    const hanging = Promise.withResolvers<Response>()
    answer = () => hanging.promise
    clock.advance('20s')
    expect((await keys.find(kid))?.kid).toBe(kid)
    expect((await keys.find(kid))?.kid).toBe(kid)
    // What the late answer says counts.
    hanging.resolve(Response.json((await createKeyRing()).jwks()))
    await expect.poll(() => keys.find(kid)).toBeUndefined()
  })

  it('asks again soon when the issuer was not there at first', async () => {
    const clock = createTestClock()
    const ring = await createKeyRing()
    set = ring.jwks()
    const keys = await serve({ clock, cooldown: '1h' })
    status = 503
    expect(await codeOf(keys.find(ring.signer().kid))).toBe('ERR_AUTH_UNAVAILABLE')
    status = 200
    clock.advance('1s')
    expect((await keys.find(ring.signer().kid))?.kid).toBe(ring.signer().kid)
  })

  it('passes over keys for other purposes, and trusts no set that is broken, too large or shows secrets', async () => {
    const ring = await createKeyRing()
    const kid = ring.signer().kid
    set = { keys: [{ kty: 'RSA', kid: 'r', use: 'enc', n: 'AQAB', e: 'AQAB' }, ...ring.jwks().keys] }
    expect((await (await serve()).find(kid))?.kid).toBe(kid)
    const [stored] = ring.export()
    const bad: (JwkSet | string)[] = [
      'not json',
      { keys: [{ kty: 'oct', kid: 'o', k: 'AAAA' }, ...ring.jwks().keys] },
      { keys: [stored?.jwk ?? {}] },
      { keys: [...ring.jwks().keys, ...ring.jwks().keys] },
      { keys: Array.from({ length: 65 }, (_, index) => ({ ...ring.jwks().keys[0], kid: `k${index}` })) },
    ]
    for (const each of bad) {
      set = each
      server?.close()
      expect(await codeOf((await serve()).find(kid))).toBe('ERR_AUTH_UNAVAILABLE')
      server?.closeAllConnections()
    }
    set = ring.jwks()
    server?.close()
    expect(await codeOf((await serve({ maxSize: 20 })).find(kid))).toBe('ERR_AUTH_UNAVAILABLE')
  })

  it('accepts keys for other algorithms only where they are named', async () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
    set = { keys: [{ ...(publicKey.export({ format: 'jwk' }) as Jwk), kid: 'r', alg: 'RS256' }] }
    expect(await codeOf((await serve()).find('r'))).toBe('ERR_AUTH_UNAVAILABLE')
    server?.close()
    expect(await (await serve({ algorithms: ['RS256'] })).find('r')).toMatchObject({ algorithm: 'RS256' })
  })

  it('does not wait for an issuer that hangs, nor follow where it points', async () => {
    const hanging = remoteJwks('https://auth.test/jwks', {
      timeout: 20,
      fetch: (_url, { signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    })
    expect(await codeOf(hanging.find('k'))).toBe('ERR_AUTH_UNAVAILABLE')
    let redirect: string | undefined
    const pointing = remoteJwks('https://auth.test/jwks', {
      fetch: async (_url, init) => {
        redirect = init.redirect
        return new Response('{"keys":[]}')
      },
    })
    expect(await codeOf(pointing.find('k'))).toBe('ERR_AUTH_UNAVAILABLE')
    expect(redirect).toBe('error')
  })

  it('wants TLS, except to this host or where told', () => {
    expect(() => remoteJwks('http://auth.internal/jwks')).toThrow('https:')
    expect(() => remoteJwks('file:///etc/passwd')).toThrow('https:')
    expect(() => remoteJwks('http://auth.internal/jwks', { insecure: true })).not.toThrow()
    expect(() => remoteJwks('http://localhost:3001/jwks')).not.toThrow()
    expect(() => remoteJwks('https://x.test', { cooldwon: 1 } as never)).toThrow('Did you mean "cooldown"?')
    expect(() => remoteJwks('https://x.test', { algorithms: ['none' as never] })).toThrow(
      '"none" is not one of',
    )
  })
})

describe('keySet', () => {
  it('never mixes symmetric and public keys, and takes every id once', async () => {
    const [key] = (await createKeyRing()).jwks().keys
    const oct = { kty: 'oct', kid: 'o', alg: 'HS256', k: 'A'.repeat(43) }
    await expect(keySet({ keys: [key ?? {}, oct] }, { algorithms: ['Ed25519', 'HS256'] })).rejects.toThrow(
      'beside',
    )
    await expect(keySet({ keys: [key ?? {}, key ?? {}] })).rejects.toThrow('two keys')
    await expect(keySet({ keys: [] })).rejects.toThrow('no key')
    await expect(keySet({ keys: [key ?? {}] }, { algorithm: 'ES256' } as never)).rejects.toThrow(
      'Did you mean "algorithms"?',
    )
  })
})
