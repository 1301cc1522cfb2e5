import { createPrivateKey, sign as signBytes, createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  createTokenVerifier,
  createKeyRing,
  keySet,
  type TokenVerifier,
  type TokenVerifierOptions,
} from '../../src/index.ts'
import { createTestClock } from '../../src/testing.ts'
import { codeOf } from '../support/code-of.ts'

const clock = createTestClock()
const ring = await createKeyRing({ algorithm: 'ES256', clock })
const [stored] = ring.export()
const privateKey = createPrivateKey({ key: { ...stored?.jwk } as Record<string, string>, format: 'jwk' })
const kid = stored?.kid ?? ''
const publicSet = ring.jwks()

const now = Math.floor(clock.now() / 1_000)
const goodHeader = { alg: 'ES256', kid, typ: 'at+jwt' }
const goodClaims = {
  iss: 'https://auth.test',
  aud: 'media',
  sub: 'alice',
  sid: 'session',
  tid: 'tenant',
  roles: ['reader'],
  iat: now,
  exp: now + 300,
  jti: 'j',
}

const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** Signs whatever header and payload, given as objects or as raw text, with the true key. */
function forge(header: unknown, payload: unknown): string {
  const input = `${encode(header)}.${encode(payload)}`
  const signature = signBytes('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

const options: TokenVerifierOptions = {
  keys: await keySet(publicSet),
  issuer: 'https://auth.test',
  audience: ['media', 'ledger'],
  clock,
}
const verifier = createTokenVerifier(options)
const good = forge(goodHeader, goodClaims)

describe('createTokenVerifier', () => {
  it('accepts a good token and freezes its claims', async () => {
    const { claims } = await verifier.verify(good)
    expect(claims.sub).toBe('alice')
    expect(() => (claims.roles as string[]).push('admin')).toThrow(TypeError)
    expect(() => Object.assign(claims, { sub: 'mallory' })).toThrow(TypeError)
    expect((await verifier.verify(good)).claims).toBe(claims)
  })

  const [first, second, third] = good.split('.') as [string, string, string]
  const otherLast = (text: string): string => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    return text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1) ?? 'A') ^ 1]
  }
  const p256 = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const mirrored = (): string => {
    // ES256 is malleable: (r, n-s) is a valid signature too, but it makes another token of the same claims.
    const bytes = Buffer.from(third, 'base64url')
    const s = BigInt(`0x${bytes.subarray(32).toString('hex')}`)
    const flipped = Buffer.from((p256 - s).toString(16).padStart(64, '0'), 'hex')
    return `${first}.${second}.${Buffer.concat([bytes.subarray(0, 32), flipped]).toString('base64url')}`
  }

  const attacks: Readonly<Record<string, () => unknown>> = {
    'no text': () => 42,
    'an empty text': () => '',
    'a trailing newline': () => `${good}\n`,
    'a leading space': () => ` ${good}`,
    'an interior space': () => good.replace('.', '. '),
    padding: () => `${good}=`,
    'a last character with stray bits': () => `${first}.${second}.${otherLast(third)}`,
    'four parts': () => `${good}.x`,
    'five parts (JWE)': () => `${good}.x.y`,
    'no signature': () => `${first}.${second}.`,
    'alg none': () => `${encode({ ...goodHeader, alg: 'none' })}.${second}.${third}`,
    'alg nOnE': () => forge({ ...goodHeader, alg: 'nOnE' }, goodClaims),
    'alg as a list': () => forge({ ...goodHeader, alg: ['ES256'] }, goodClaims),
    'no alg': () => forge({ kid, typ: 'at+jwt' }, goodClaims),
    'alg in lower case': () => forge({ ...goodHeader, alg: 'es256' }, goodClaims),
    'HS256 with the public key as secret': () => {
      const input = `${encode({ ...goodHeader, alg: 'HS256' })}.${second}`
      const secret = JSON.stringify(publicSet.keys[0])
      return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
    },
    'no kid': () => forge({ alg: 'ES256', typ: 'at+jwt' }, goodClaims),
    'an unknown kid': () => forge({ ...goodHeader, kid: 'other' }, goodClaims),
    'a kid with a path': () => forge({ ...goodHeader, kid: '../../etc/passwd\n' }, goodClaims),
    'a kid that is no text': () => forge({ ...goodHeader, kid: { $ne: '' } }, goodClaims),
    crit: () => forge({ ...goodHeader, crit: ['exp'] }, goodClaims),
    'an empty crit': () => forge({ ...goodHeader, crit: [] }, goodClaims),
    'b64 false': () => forge({ ...goodHeader, b64: false }, goodClaims),
    'b64 false with crit': () => forge({ ...goodHeader, b64: false, crit: ['b64'] }, goodClaims),
    zip: () => forge({ ...goodHeader, zip: 'DEF' }, goodClaims),
    jku: () => forge({ ...goodHeader, jku: 'https://evil.test' }, goodClaims),
    x5u: () => forge({ ...goodHeader, x5u: 'https://evil.test' }, goodClaims),
    'an embedded jwk': () => forge({ ...goodHeader, jwk: publicSet.keys[0] }, goodClaims),
    'no typ': () => forge({ alg: 'ES256', kid }, goodClaims),
    'typ JWT': () => forge({ ...goodHeader, typ: 'JWT' }, goodClaims),
    'a proof of possession': () => forge({ ...goodHeader, typ: 'dpop+jwt' }, goodClaims),
    'a duplicate header': () =>
      forge(`{"alg":"ES256","kid":"${kid}","typ":"at+jwt","typ":"at+jwt"}`, goodClaims),
    'a duplicate claim': () => forge(goodHeader, `{"sub":"mallory",${JSON.stringify(goodClaims).slice(1)}`),
    'a duplicate claim by escape': () =>
      forge(goodHeader, `{"\\u0073ub":"mallory",${JSON.stringify(goodClaims).slice(1)}`),
    'claims that nest too deep': () =>
      forge(goodHeader, JSON.stringify(goodClaims).replace('{', `{"x":${'['.repeat(70)}${']'.repeat(70)},`)),
    'a duplicate claim deep inside': () =>
      forge(goodHeader, JSON.stringify(goodClaims).replace('{', '{"x":[{"a":1,"a":2}],')),
    __proto__: () => forge(goodHeader, `{"__proto__":{"admin":true},${JSON.stringify(goodClaims).slice(1)}`),
    'a byte order mark': () => forge(goodHeader, `\uFEFF${JSON.stringify(goodClaims)}`),
    'a payload that is a list': () => forge(goodHeader, [goodClaims]),
    'a payload that is null': () => forge(goodHeader, 'null'),
    'a payload that is no UTF-8': () => {
      const bytes = Buffer.concat([Buffer.from('{"x":"'), Buffer.from([0xff]), Buffer.from('"}')])
      return `${first}.${bytes.toString('base64url')}.${third}`
    },
    'no exp': () => forge(goodHeader, { ...goodClaims, exp: undefined }),
    'exp as text': () => forge(goodHeader, { ...goodClaims, exp: String(now + 300) }),
    'a fractional exp': () => forge(goodHeader, { ...goodClaims, exp: now + 300.5 }),
    'exp 1e300': () => forge(goodHeader, JSON.stringify(goodClaims).replace(/"exp":\d+/, '"exp":1e300')),
    'exp 1e999': () => forge(goodHeader, JSON.stringify(goodClaims).replace(/"exp":\d+/, '"exp":1e999')),
    'a negative exp': () => forge(goodHeader, { ...goodClaims, exp: -1 }),
    'iat in the future': () => forge(goodHeader, { ...goodClaims, iat: now + 60 }),
    'nbf in the future': () => forge(goodHeader, { ...goodClaims, nbf: now + 60 }),
    'another issuer': () => forge(goodHeader, { ...goodClaims, iss: 'https://auth.test/' }),
    'no issuer': () => forge(goodHeader, { ...goodClaims, iss: undefined }),
    'another audience': () => forge(goodHeader, { ...goodClaims, aud: 'analytics' }),
    'no audience': () => forge(goodHeader, { ...goodClaims, aud: undefined }),
    'audiences that are no texts': () => forge(goodHeader, { ...goodClaims, aud: ['media', 1] }),
    'no sub': () => forge(goodHeader, { ...goodClaims, sub: undefined }),
    'no sid': () => forge(goodHeader, { ...goodClaims, sid: undefined }),
    'an empty tid': () => forge(goodHeader, { ...goodClaims, tid: '' }),
    'no jti': () => forge(goodHeader, { ...goodClaims, jti: undefined }),
    'roles as text': () => forge(goodHeader, { ...goodClaims, roles: 'admin' }),
    'roles with a hole': () => forge(goodHeader, { ...goodClaims, roles: ['admin', null] }),
    'permissions as an object': () => forge(goodHeader, { ...goodClaims, permissions: { all: true } }),
    'cnf null': () => forge(goodHeader, { ...goodClaims, cnf: null }),
    'cnf as a list': () => forge(goodHeader, { ...goodClaims, cnf: ['x'] }),
    'a short fp': () => forge(goodHeader, { ...goodClaims, cnf: { fp: 'abc' } }),
    'an fp that is a list': () => forge(goodHeader, { ...goodClaims, cnf: { fp: ['a'.repeat(43)] } }),
    'an aal of 4': () => forge(goodHeader, { ...goodClaims, aal: 4 }),
    'a changed claim': () => `${first}.${encode({ ...goodClaims, sub: 'mallory' })}.${third}`,
    'r = s = 0': () => `${first}.${second}.${Buffer.alloc(64).toString('base64url')}`,
    'a DER signature': () => {
      const der = signBytes('sha256', Buffer.from(`${first}.${second}`), privateKey)
      return `${first}.${second}.${der.toString('base64url')}`
    },
    'a refresh token': () => `v1~tenant~alice~session~1~id~${'a'.repeat(43)}~${'b'.repeat(22)}`,
    '10 MB': () => `${'a'.repeat(10_000_000)}.b.c`,
    '5 million dots': () => '.'.repeat(5_000_000),
  }

  it.each(Object.entries(attacks))('refuses %s', async (_name, make) => {
    expect(await codeOf(verifier.verify(make() as string))).toBe('ERR_AUTH_TOKEN_INVALID')
  })

  it('refuses the longest of nonsense within milliseconds', async () => {
    const nonsense = ['a'.repeat(10_000_000), '.'.repeat(5_000_000), `${'a'.repeat(2_700)}.`.repeat(3)]
    const started = performance.now()
    for (const text of nonsense) await codeOf(verifier.verify(text))
    expect(performance.now() - started).toBeLessThan(100)
  })

  it('reads a mirrored ES256 signature as the same claims, without letting it near the cached token', async () => {
    const { claims } = await verifier.verify(mirrored())
    expect(claims.jti).toBe('j')
    expect(claims).not.toBe((await verifier.verify(good)).claims)
  })

  it('tells an expired token from a bad one', async () => {
    const expired = forge(goodHeader, { ...goodClaims, exp: now - 6 })
    expect(await codeOf(verifier.verify(expired))).toBe('ERR_AUTH_TOKEN_EXPIRED')
  })

  it('lets clocks differ by the tolerance, in both directions', async () => {
    const edges = [{ exp: now - 4 }, { iat: now + 4 }, { nbf: now + 4 }]
    for (const edge of edges) {
      expect(await codeOf(verifier.verify(forge(goodHeader, { ...goodClaims, ...edge })))).toBe('resolved')
    }
    const exact = createTokenVerifier({ ...options, clockTolerance: 0 })
    for (const edge of edges) {
      expect(await codeOf(exact.verify(forge(goodHeader, { ...goodClaims, ...edge })))).not.toBe('resolved')
    }
  })

  it('takes other claims under the signature of a remembered token for what they are', async () => {
    const remembering = createTokenVerifier(options)
    await remembering.verify(good)
    const [header = '', , signature = ''] = good.split('.')
    const forged = [header, encode({ ...goodClaims, sub: 'mallory' }), signature].join('.')
    expect(remembering.recall(good)).toBeDefined()
    expect(remembering.recall(forged)).toBeUndefined()
    expect(await codeOf(remembering.verify(forged))).toBe('ERR_AUTH_TOKEN_INVALID')
    for (const cut of [signature, `.${signature}`, `${good} `, `a${good}`]) {
      expect(remembering.recall(cut)).toBeUndefined()
    }
  })

  it('looks at the time of a remembered token at every use', async () => {
    const turned = createTestClock(clock.now())
    const short = createTokenVerifier({ ...options, clock: turned, tokenCache: { ttl: '1h' } })
    expect(await codeOf(short.verify(good))).toBe('resolved')
    expect(short.recall(good)).toBeDefined()
    turned.advance('306s')
    expect(await codeOf(short.verify(good))).toBe('ERR_AUTH_TOKEN_EXPIRED')
  })

  it('refuses a remembered token when the clock has gone back behind it', async () => {
    let time = clock.now()
    const moved = createTokenVerifier({ ...options, clock: { now: () => time, monotonic: () => 0 } })
    await moved.verify(good)
    time -= 60_000
    expect(await codeOf(moved.verify(good))).toBe('ERR_AUTH_TOKEN_INVALID')
  })

  it('forgets a token after the ttl of the cache, and remembers none with maxEntries 0', async () => {
    const turned = createTestClock(clock.now())
    const short = createTokenVerifier({ ...options, clock: turned, tokenCache: { ttl: '10s' } })
    await short.verify(good)
    turned.advance('9s')
    expect(short.recall(good)).toBeDefined()
    turned.advance('2s')
    expect(short.recall(good)).toBeUndefined()
    const none = createTokenVerifier({ ...options, tokenCache: { maxEntries: 0 } })
    await none.verify(good)
    expect(none.recall(good)).toBeUndefined()
  })

  it('remembers no more tokens than it may', async () => {
    const few = createTokenVerifier({ ...options, tokenCache: { maxEntries: 4 } })
    const tokens = Array.from({ length: 10 }, (_, index) =>
      forge(goodHeader, { ...goodClaims, jti: `j${index}` }),
    )
    for (const token of tokens) await few.verify(token)
    expect(tokens.filter((token) => few.recall(token) !== undefined).length).toBeLessThanOrEqual(4)
    expect(few.recall(tokens.at(-1) ?? '')).toBeDefined()
  })

  it('remembers nothing that was verified while its key went away', async () => {
    const source = await createKeyRing({ algorithm: 'ES256', clock, keys: [{ jwk: stored?.jwk ?? {} }] })
    const keys = {
      get epoch() {
        return source.epoch
      },
      find: async (id: string) => {
        const key = await source.find(id)
        source.drop(id)
        // Another call has noticed, and emptied the cache.
        late.recall(good)
        return key
      },
    }
    const late: TokenVerifier = createTokenVerifier({ ...options, keys })
    expect(await codeOf(late.verify(good))).toBe('resolved')
    expect(late.recall(good)).toBeUndefined()
    expect(await codeOf(late.verify(good))).toBe('ERR_AUTH_TOKEN_INVALID')
  })

  it('remembers no failure', async () => {
    let knows = false
    const all = await keySet(publicSet)
    const keys = { epoch: 0, find: async (id: string) => (knows ? await all.find(id) : undefined) }
    const learning = createTokenVerifier({ ...options, keys })
    expect(await codeOf(learning.verify(good))).toBe('ERR_AUTH_TOKEN_INVALID')
    knows = true
    expect(await codeOf(learning.verify(good))).toBe('resolved')
  })

  it('refuses longer tokens than it is told to look at', async () => {
    const short = createTokenVerifier({ ...options, maxTokenLength: good.length - 1 })
    expect(await codeOf(short.verify(good))).toBe('ERR_AUTH_TOKEN_INVALID')
  })

  it('accepts HS256 only with a key that is for it, and never a short one', async () => {
    const secret = 'k'.repeat(32)
    const oct = { kty: 'oct', kid: 'h', alg: 'HS256', k: Buffer.from(secret).toString('base64url') }
    await expect(keySet({ keys: [oct] })).rejects.toThrow('not allowed')
    await expect(keySet({ keys: [{ ...oct, k: 'c2hvcnQ' }] }, { algorithms: ['HS256'] })).rejects.toThrow(
      'too short',
    )
    const keys = await keySet({ keys: [oct] }, { algorithms: ['HS256'] })
    const input = `${encode({ alg: 'HS256', kid: 'h', typ: 'at+jwt' })}.${encode(goodClaims)}`
    const token = `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
    expect(await codeOf(createTokenVerifier({ ...options, keys }).verify(token))).toBe('resolved')
  })

  it('says by name which option is wrong', () => {
    expect(() => createTokenVerifier({ ...options, isuer: 'x' } as never)).toThrow('Did you mean "issuer"?')
    expect(() => createTokenVerifier({ ...options, audience: [] })).toThrow('audience')
    expect(() => createTokenVerifier({ ...options, issuer: '' })).toThrow('issuer')
    expect(() => createTokenVerifier({ ...options, keys: {} as never })).toThrow('keys')
    expect(() => createTokenVerifier({ ...options, tokenCache: { maxEntries: -1 } })).toThrow('maxEntries')
    expect(() => createTokenVerifier({ ...options, tokenCache: { size: 1 } as never })).toThrow('tokenCache')
  })
})
