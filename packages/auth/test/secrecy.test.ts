import { generateKeyPairSync, hash, randomUUID, sign } from 'node:crypto'
import { createServer } from 'node:http'
import { connect as connectSocket, type AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { calculateJwkThumbprint } from 'jose/jwk/thumbprint'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Redis } from 'ioredis'
import type { Logger } from '@quintet/core'
import type { Credentials } from '@quintet/core/kit'
import { createLogger } from '@quintet/core/logger'
import { nodeAuth } from '../src/adapters/node.ts'
import {
  AuthError,
  createDpopNonces,
  createDpopVerifier,
  createJwtAuthManager,
  createKeyRing,
  createSessionAuthority,
  createSessionCookies,
  createTokenVerifier,
  deriveSecrets,
  keySet,
  remoteJwks,
  serveJwks,
  steppedUp,
  type AuthErrorCode,
  type KeyInput,
} from '../src/index.ts'
import { createTestAuth } from '../src/testing.ts'
import { startPrivateRedis } from '@quintet/test-kit'
import { RefreshTokenCodec } from '../src/authority/refresh-token.ts'
import { connect } from './support/redis.ts'
import { useToken } from './support/use-token.ts'
import { createSessionDatabase, type SessionDatabase } from './support/modes.ts'

let redis: Redis
let database: SessionDatabase
beforeAll(async () => {
  redis = connect()
  database = await createSessionDatabase()
})
afterAll(async () => {
  redis.disconnect()
  await database[Symbol.asyncDispose]()
})

const root = 'root-secret-that-nobody-may-ever-see'
const secrets = deriveSecrets(root)

describe('secrets', () => {
  it('show themselves to nobody who does not ask', () => {
    const all = Object.values(secrets).flat() as { reveal(): string }[]
    const shown = `${inspect(secrets, { depth: 9, showHidden: true })} ${JSON.stringify(secrets)} ${all.map(String).join()}`
    for (const secret of all) expect(shown).not.toContain(secret.reveal())
    expect(shown).not.toContain(root)
  })

  it('are all different, and the same for the same root', () => {
    const all = Object.values(secrets)
      .flat()
      .map((secret: { reveal(): string }) => secret.reveal())
    expect(new Set(all).size).toBe(all.length)
    expect(deriveSecrets({ reveal: () => root }).cnf.reveal()).toBe(secrets.cnf.reveal())
    expect(deriveSecrets(Buffer.from(root)).csrf.reveal()).toBe(secrets.csrf.reveal())
    expect(() => deriveSecrets('short')).toThrow('32 bytes')
  })

  it('and tokens are in no log line, no event, no error and not readable in Redis or PostgreSQL', async () => {
    const lines: string[] = []
    const sink = { write: (line: string) => void lines.push(line) }
    const logger: Logger = createLogger({ level: 'trace', destination: sink })
    const keys = await createKeyRing()
    const shared = { keys, issuer: 'i', audience: 'a' }
    const heard: string[] = []
    const audit = (event: object): void => void heard.push(inspect(event, { depth: 9 }))
    const store = database.store()
    const tenantId = `secrecy-${process.pid}`
    await using server = await startPrivateRedis()
    const fragile = connect(server.url)
    const errors: unknown[] = []
    const seen: string[] = []
    const collect = async (promise: Promise<unknown>): Promise<void> => {
      await promise.catch((error: unknown) => errors.push(error))
    }
    for (const [client, kept] of [
      [redis, undefined],
      [fragile, store],
    ] as const) {
      await using authority = createSessionAuthority({
        redis: client,
        secrets,
        logger,
        audit,
        ...shared,
        ...(kept === undefined ? {} : { store: kept }),
      })
      await using manager = createJwtAuthManager({
        logger,
        audit,
        sessionRedis: client,
        cnf: { secret: secrets.cnf },
        ...shared,
        ...(kept === undefined ? {} : { sessionLookup: kept.find.bind(kept) }),
      })
      const first = await authority.signIn({ userId: 'alice', tenantId })
      const second = await authority.refresh(first.refreshToken)
      const stored =
        kept === undefined
          ? ''
          : JSON.stringify((await database.pool.query('select * from auth_sessions')).rows)
      const hash = await client.hgetall(`s:{${tenantId}:alice}:${first.session.sessionId}`)
      for (const tokens of [first, second]) {
        const codec = new RefreshTokenCodec(secrets, 'test')
        const { secret } = codec.parse(tokens.refreshToken)
        seen.push(tokens.accessToken, tokens.accessToken.split('.')[2] ?? '', tokens.refreshToken, secret)
        expect(stored + JSON.stringify(hash)).not.toContain(secret)
      }
      await collect(manager.authenticate({ scheme: 'bearer', token: first.accessToken }))
      await collect(manager.authenticate({ scheme: 'bearer', token: `${first.accessToken}x` }))
      await collect(authority.refresh(`${second.refreshToken}x`))
      await collect(
        createDpopVerifier({ redis: client }).verify(first.accessToken, {
          method: 'GET',
          url: 'https://a',
          accessToken: second.accessToken,
        }),
      )
      if (kept !== undefined) {
        server.freeze()
        await collect(authority.refresh(second.refreshToken))
        await collect(manager.authenticate({ scheme: 'bearer', token: second.accessToken }))
        await collect(authority.revoke(second.session))
        server.thaw()
      } else {
        await authority.revoke(second.session)
        await collect(authority.refresh(second.refreshToken))
      }
    }
    fragile.disconnect()
    for (const error of errors) logger.error({ err: error }, 'refused')
    const everything = [
      ...lines,
      ...heard,
      ...errors.map((error) => inspect(error, { depth: 9, showHidden: true })),
    ].join('\n')
    expect(errors.length).toBeGreaterThanOrEqual(8)
    expect(heard.length).toBeGreaterThan(3)
    const privateParts = keys.export().map(({ jwk }) => jwk.d ?? '')
    const derived = Object.values(secrets)
      .flat()
      .map((secret: { reveal(): string }) => secret.reveal())
    for (const secret of [root, ...derived, ...privateParts, ...seen]) {
      expect(secret.length).toBeGreaterThan(20)
      expect(everything).not.toContain(secret)
    }
  })
})

/** An error with all that hangs on it, as an operator's tools might show it. */
const whole = (value: unknown): string =>
  [inspect(value, { depth: 12, showHidden: true, getters: true }), String(value), JSON.stringify(value)].join(
    '\n',
  )

const failure = async (attempt: () => unknown): Promise<unknown> => {
  try {
    await attempt()
  } catch (error) {
    return error
  }
  throw new Error(`This did not fail: ${attempt.toString()}`)
}

describe('what is shown of a refusal', () => {
  it('holds no token, proof, key or secret, whichever part refused, in errors, events, answers and stores', async () => {
    await using server = await startPrivateRedis()
    const client = connect(server.url)
    const events: unknown[] = []
    const audit = (event: object): void => void events.push(event)
    const nonces = createDpopNonces({ secret: secrets.dpopNonce })
    let limited = false
    const limiter = {
      consume: async () => ({ allowed: !limited, retryAfter: 1 }),
      refund: async () => undefined,
      reset: async () => undefined,
    }
    let gone = false
    const loadUser = async (): Promise<{ roles: string[] }> => {
      if (gone) throw new Error('the users cannot be read')
      return { roles: [] }
    }
    await using auth = await createTestAuth({
      redis: client,
      authority: { audit, throttle: { limiter }, loadUser, grace: 0 },
      manager: { audit, dpop: { nonces } },
    })
    const cookies = createSessionCookies({ csrfSecret: secrets.csrf, clock: auth.clock })
    const shown: string[] = []
    const hidden = new Set<string>([root, ...auth.keys.export().map(({ jwk }) => jwk.d ?? '')])
    for (const set of [secrets, auth.secrets])
      for (const secret of Object.values(set).flat() as { reveal(): string }[]) hidden.add(secret.reveal())
    const codes = new Set<AuthErrorCode>()
    const fails = async (attempt: () => unknown): Promise<void> => {
      const error = await failure(attempt)
      if (error instanceof AuthError) codes.add(error.code)
      shown.push(whole(error))
    }
    const codec = new RefreshTokenCodec(auth.secrets, 'test')
    const start = async (user: object = {}): Promise<Awaited<ReturnType<typeof auth.signIn>>> => {
      const tokens = await auth.signIn(user)
      keep(tokens)
      return tokens
    }
    const keep = (tokens: Awaited<ReturnType<typeof auth.signIn>>): void => {
      const refresh = tokens.refreshToken.split('~')
      hidden.add(tokens.accessToken).add(tokens.accessToken.split('.')[2] ?? '')
      hidden.add(tokens.refreshToken).add(codec.parse(tokens.refreshToken).secret)
      hidden.add(refresh.at(-1) ?? '')
    }

    // Every way in which a call is refused, over HTTP as well.
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const jwk = publicKey.export({ format: 'jwk' })
    hidden.add(privateKey.export({ format: 'jwk' }).d ?? '')
    const jkt = await calculateJwkThumbprint(jwk as Parameters<typeof calculateJwkThumbprint>[0])
    const url = 'https://api.test/me'
    const prove = (token: string, claims: object = {}): string => {
      const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
      const good = {
        jti: randomUUID(),
        htm: 'GET',
        htu: url,
        iat: Math.floor(auth.clock.now() / 1_000),
        ath: hash('sha256', token, 'base64url'),
        nonce: nonces.issue(),
      }
      const input = `${encode({ typ: 'dpop+jwt', alg: 'ES256', jwk })}.${encode({ ...good, ...claims })}`
      const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
      const proof = `${input}.${signature.toString('base64url')}`
      hidden.add(proof).add(proof.split('.')[2] ?? '')
      return proof
    }
    const bound = (await start({ jkt })).accessToken
    const replayed = prove(bound)
    await auth.manager.authenticate({ scheme: 'dpop', token: bound, proof: replayed, method: 'GET', url })
    const revoked = await start()
    await auth.authority.revoke(revoked.session)
    const old = await start()
    const replacing = await auth.authority.refresh(old.refreshToken)
    keep(replacing)
    await useToken(client, auth, replacing)
    const alive = await start()
    const forged = `${alive.accessToken.slice(0, -8)}AAAAAAAA`
    const expired = await auth.token({ iat: 0, exp: 1 })
    const foreign = await auth.token({ aud: 'others' })
    const cold = await auth.token({ cnf: { fp: 'a'.repeat(43) } })
    for (const token of [forged, expired, foreign, cold]) hidden.add(token)
    const jar = cookies.set(alive).map((line) => line.split(';')[0] ?? '')
    for (const pair of jar) hidden.add(pair.slice(pair.indexOf('=') + 1))
    const bearers = [revoked, old].map(({ accessToken }) => accessToken)
    const refusedHeaders: string[][] = [
      ...[...bearers, forged, expired, foreign, cold, bound].map((token) => [
        'authorization',
        `Bearer ${token}`,
      ]),
      ['authorization', `Basic ${alive.accessToken}`],
      ['authorization', `Bearer ${alive.accessToken} x`],
      ['authorization', `Bearer ${alive.accessToken}`, 'authorization', `Bearer ${alive.accessToken}`],
      ['cookie', jar.join('; '), 'x-csrf-token', 'wrong'],
      ...[prove(bound, { nonce: 'x' }), replayed, prove(bound, { htm: 'PUT' }), alive.accessToken].map(
        (proof) => ['authorization', `DPoP ${bound}`, 'dpop', proof],
      ),
      ['authorization', `Bearer ${alive.accessToken}`],
      [],
    ]
    const listener = nodeAuth(
      { manager: auth.manager, cookies, access: steppedUp({ aal: 3 }), origin: 'https://api.test' },
      (_request, response) => void response.end(),
    )
    const http = createServer(listener)
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    const ask = async (headers: readonly string[]): Promise<void> => {
      const pairs = Array.from({ length: headers.length / 2 }, (_, at) => headers.slice(at * 2, at * 2 + 2))
      const method = headers[0] === 'cookie' ? 'POST' : 'GET'
      const lines = [
        `${method} /me HTTP/1.1`,
        'host: x',
        'connection: close',
        ...pairs.map((pair) => pair.join(': ')),
      ]
      const socket = connectSocket((http.address() as AddressInfo).port, '127.0.0.1')
      socket.write(`${lines.join('\r\n')}\r\n\r\n`)
      let answer = ''
      for await (const chunk of socket.setEncoding('utf8')) answer += String(chunk)
      expect(answer).toMatch(/^HTTP\/1\.1 (?:4|5)/)
      codes.add(/"code":"(\w+)"/.exec(answer)?.[1] as AuthErrorCode)
      shown.push(answer)
    }
    for (const headers of refusedHeaders) await ask(headers)
    const direct: Credentials[] = [
      ...[...bearers, forged, expired, foreign, cold, bound].map(
        (token) => ({ scheme: 'bearer', token }) as const,
      ),
      { scheme: 'dpop', token: bound, proof: replayed, method: 'GET', url },
      { scheme: 'dpop', token: alive.accessToken, proof: prove(alive.accessToken), method: 'GET', url },
    ]
    for (const credentials of direct) await fails(() => auth.manager.authenticate(credentials))

    // Every way in which a refresh is refused.
    auth.clock.advance(1)
    for (const token of [`${alive.refreshToken}x`, alive.accessToken, revoked.refreshToken, old.refreshToken])
      await fails(() => auth.authority.refresh(token))
    const wrong = codec.format({ ...codec.parse(alive.refreshToken), secret: 'A'.repeat(43) })
    hidden.add(wrong)
    await fails(() => auth.authority.refresh(wrong))
    const stepped = await start()
    const second = codec.format({ ...codec.parse(stepped.refreshToken), generation: 7 })
    hidden.add(second)
    await fails(() => auth.authority.refresh(second))
    gone = true
    await fails(() => auth.authority.refresh(stepped.refreshToken))
    gone = false
    limited = true
    await fails(() => auth.authority.refresh(stepped.refreshToken))
    await fails(() => auth.authority.admitSignIn({ account: 'alice' }))
    limited = false
    const idle = await start()
    auth.clock.advance('8d')
    await fails(() => auth.authority.refresh(idle.refreshToken))
    const stored = await client.keys('*')
    for (const key of stored) shown.push(key, whole(await dump(client, key)))
    server.freeze()
    await fails(() => auth.authority.refresh(idle.refreshToken))
    server.thaw()

    // Keys and secrets that cannot be used, and issuers that show what they should not.
    const secret = 'short-secret-of-some-sort'
    hidden.add(secret)
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const privateJwk = ec.export({ format: 'jwk' })
    const pem = ec.export({ type: 'pkcs8', format: 'pem' }) as string
    hidden
      .add(privateJwk.d ?? '')
      .add(pem)
      .add(pem.split('\n')[1] ?? '')
    const badKeys: KeyInput[] = [
      { jwk: privateJwk as object },
      { pem },
      { pem: pem.slice(0, -40) },
      { secret },
      { jwk: { ...(privateJwk as object), use: 'enc' }, pem },
    ]
    for (const key of badKeys) await fails(() => createKeyRing({ keys: [key] }))
    await fails(() => createKeyRing({ algorithm: 'HS256', keys: [{ secret }] }))
    await fails(() => keySet({ keys: [{ ...(privateJwk as object), kid: 'k', alg: 'HS256', k: secret }] }))
    const oct = { kty: 'oct', kid: 'o', alg: 'HS256', k: Buffer.from(secret).toString('base64url') }
    await fails(() => keySet({ keys: [oct] }, { algorithms: ['HS256'] }))
    const leaky = remoteJwks('https://auth.test/jwks', {
      fetch: async () => Response.json({ keys: [{ ...privateJwk, kid: 'k' }, oct] }),
    })
    await fails(() => leaky.find('k'))
    await fails(() => deriveSecrets(secret))
    await fails(() => createDpopNonces({ secret }))
    await fails(() => createSessionCookies({ csrfSecret: secret }))
    const verify = { keys: auth.keys, issuer: 'i', audience: 'a' }
    const base = { logger: createLogger({ level: 'silent' }), sessionRedis: client, ...verify }
    await fails(() => createJwtAuthManager({ ...base, cnf: { secret } }))
    await fails(() =>
      createJwtAuthManager({ ...base, cnf: { secret: secrets.cnf, previousSecrets: [secret] } }),
    )
    const issue = { redis: client, ...verify }
    for (const name of ['cnf', 'refreshMac', 'refreshNext'])
      await fails(() => createSessionAuthority({ ...issue, secrets: { ...secrets, [name]: secret } }))
    hidden.add(oct.k)

    // The parts themselves, should somebody log them.
    const parts = [auth, auth.authority, auth.manager, auth.keys, secrets, cookies, nonces, base.keys]
    for (const part of [
      ...parts,
      createTokenVerifier(verify),
      await createKeyRing({ keys: [{ jwk: auth.keys.export()[0]?.jwk ?? {} }] }),
    ])
      shown.push(whole(part))
    shown.push(await serveJwks(auth.keys, new Request('https://auth.test/jwks')).text())
    shown.push(whole(events))
    client.disconnect()
    await new Promise((resolve) => http.close(resolve))

    const everything = shown.join('\n')
    for (const text of hidden) {
      expect(text.length).toBeGreaterThan(15)
      expect(everything).not.toContain(text)
    }
    expect([...codes].toSorted()).toEqual(
      [
        'ERR_AUTH_CREDENTIALS_AMBIGUOUS',
        'ERR_AUTH_CREDENTIALS_MALFORMED',
        'ERR_AUTH_CREDENTIALS_MISSING',
        'ERR_AUTH_CSRF_REFUSED',
        'ERR_AUTH_DPOP_INVALID',
        'ERR_AUTH_DPOP_NONCE_REQUIRED',
        'ERR_AUTH_REFRESH_EXPIRED',
        'ERR_AUTH_REFRESH_INVALID',
        'ERR_AUTH_REFRESH_REUSED',
        'ERR_AUTH_REFRESH_REVOKED',
        'ERR_AUTH_SESSION_COLD',
        'ERR_AUTH_SESSION_REVOKED',
        'ERR_AUTH_STEP_UP_REQUIRED',
        'ERR_AUTH_THROTTLED',
        'ERR_AUTH_TOKEN_EXPIRED',
        'ERR_AUTH_TOKEN_INVALID',
        'ERR_AUTH_TOKEN_SUPERSEDED',
        'ERR_AUTH_UNAVAILABLE',
      ].toSorted(),
    )
  })
})

async function dump(client: Redis, key: string): Promise<unknown> {
  switch (await client.type(key)) {
    case 'hash':
      return await client.hgetall(key)
    case 'zset':
      return await client.zrange(key, '0', '-1', 'WITHSCORES')
    default:
      return await client.get(key)
  }
}
