import { createHash, generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOwnStage, type OwnStage } from './own-stage.ts'

let own: OwnStage
let gatewayUrl: string

beforeAll(async () => {
  own = await openOwnStage()
  ;({ gatewayUrl } = own.stage)
}, 120_000)

afterAll(() => own.close())

const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

interface Key {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}
const newKey = (): Key => generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** A proof of possession for one POST (RFC 9449 section 4.2). */
function proofFor(key: Key, url: string, accessToken?: string): string {
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: key.publicKey.export({ format: 'jwk' }) }
  const claims = {
    jti: randomUUID(),
    htm: 'POST',
    htu: url,
    iat: Math.floor(Date.now() / 1_000),
    ...(accessToken && { ath: createHash('sha256').update(accessToken).digest('base64url') }),
  }
  const input = `${base64url(header)}.${base64url(claims)}`
  const signature = sign('sha256', Buffer.from(input), {
    key: key.privateKey,
    dsaEncoding: 'ieee-p1363',
  })
  return `${input}.${signature.toString('base64url')}`
}

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

async function post(path: string, body: unknown, headers: Record<string, string>): Promise<Answer> {
  const sending = request(gatewayUrl + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
  })
  sending.end(JSON.stringify(body))
  const [response] = (await once(sending, 'response')) as [IncomingMessage]
  return { status: response.statusCode ?? 0, body: (await json(response)) as Record<string, unknown> }
}

describe('a session that is bound to a key, through the gateway', () => {
  const key = newKey()
  const list = '/api/media/rpc/objects/list'
  let token: string
  let refreshToken: string

  const call = (proof: string, headers: Record<string, string> = {}): Promise<Answer> =>
    post(list, {}, { authorization: `DPoP ${token}`, dpop: proof, ...headers })

  it('begins with a proof for the public address of the sign-in', async () => {
    const account = {
      tenant: `bound-${randomUUID().slice(0, 8)}`,
      email: 'ada@example.com',
      name: 'Ada',
      password: `correct horse ${randomUUID()}`,
    }
    const elsewhere = { dpop: proofFor(key, 'http://127.0.0.1:1/api/auth/sign-up') }
    expect(await post('/api/auth/sign-up', account, elsewhere)).toMatchObject({
      status: 401,
      body: { code: 'ERR_AUTH_DPOP_INVALID' },
    })
    // Nothing was made by the attempt that was refused.
    expect((await post('/api/auth/sign-up', account, {})).status).toBe(200)
    const { tenant, email, password } = account
    const here = { dpop: proofFor(key, `${gatewayUrl}/api/auth/sign-in`) }
    const signedIn = await post('/api/auth/sign-in', { tenant, email, password }, here)
    expect(signedIn).toMatchObject({ status: 200, body: { tokenType: 'DPoP' } })
    token = String(signedIn.body['accessToken'])
    refreshToken = String(signedIn.body['refreshToken'])
  })

  it('takes calls with a proof for their public address, each once', async () => {
    const proof = proofFor(key, gatewayUrl + list, token)
    expect(await call(proof)).toMatchObject({ status: 200, body: { items: [] } })
    expect(await call(proof)).toMatchObject({ status: 401, body: { code: 'ERR_AUTH_DPOP_INVALID' } })
  })

  it.each([
    ['the address behind the gateway', () => `${gatewayUrl}/rpc/objects/list`, {}],
    [
      'another server, whatever host the request names',
      () => `https://evil.example${list}`,
      { host: 'evil.example' },
    ],
    [
      'a prefix that the client has made up',
      () => `${gatewayUrl}/x${list}`,
      { 'x-forwarded-prefix': '/x/api/media' },
    ],
  ])('refuses a proof for %s', async (_, url, headers) => {
    const { status, body } = await call(proofFor(key, url(), token), headers)
    expect([status, body['code']]).toEqual([401, 'ERR_AUTH_DPOP_INVALID'])
  })

  it('refuses its token without a proof, and with a proof of another key', async () => {
    const bearer = await post(list, {}, { authorization: `Bearer ${token}` })
    expect(bearer.status).toBe(401)
    expect((await call(proofFor(newKey(), gatewayUrl + list, token))).status).toBe(401)
  })

  it('is refreshed with its own key alone', async () => {
    const url = `${gatewayUrl}/api/auth/refresh`
    const refresh = (headers: Record<string, string>): Promise<Answer> =>
      post('/api/auth/refresh', { refreshToken }, headers)
    expect((await refresh({})).status).toBe(401)
    expect((await refresh({ dpop: proofFor(newKey(), url) })).status).toBe(401)
    expect(await refresh({ dpop: proofFor(key, url) })).toMatchObject({
      status: 200,
      body: { tokenType: 'DPoP' },
    })
  })
})
