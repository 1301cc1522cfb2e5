import { createHash, generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import { findServer, until } from '@quintet/test-kit'
import { chromium, type Browser, type Page } from 'playwright-core'
import sharp from 'sharp'
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

describe('the page of the web app', () => {
  it('runs nothing but its own script, keeps nothing, and is framed by no one', async () => {
    const page = await fetch(`${gatewayUrl}/api/web/`)
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).not.toContain('unsafe')
    const text = await page.text()
    expect(text).not.toMatch(/<script(?![^>]* src=)|<style| on[a-z]+=| style=/)
    const again = { headers: { 'if-none-match': page.headers.get('etag') ?? '' } }
    expect((await fetch(`${gatewayUrl}/api/web/`, again)).status).toBe(304)
    const script = await (await fetch(`${gatewayUrl}/api/web/main.js`)).text()
    expect(script).not.toMatch(/localStorage|sessionStorage|indexedDB|document\.cookie|innerHTML/)
  })
})

const browserPath = await findServer('chromium')

describe.skipIf(browserPath === undefined)('a person at the page', () => {
  let browser: Browser
  /** What the browser has complained of. */
  const complaints: string[] = []
  const password = `correct horse ${randomUUID()}`
  const tenant = `page-${randomUUID().slice(0, 8)}`

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: browserPath ?? '', args: ['--no-sandbox'] })
  }, 60_000)
  afterAll(() => browser.close())

  /** Opens the page in a window that shares nothing with any other. */
  async function open(): Promise<Page> {
    const page = await (await browser.newContext()).newPage()
    page.setDefaultTimeout(20_000)
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text())
    })
    await page.goto(`${gatewayUrl}/api/web/`)
    return page
  }
  async function submit(page: Page, form: string, fields: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, value] of Object.entries(fields)) await page.fill(`#${form} [name=${name}]`, value)
    await page.click(`#${form} button`)
  }
  const textOf = async (page: Page, selector: string): Promise<string> =>
    (await page.locator(selector).allTextContents()).join('\n')

  it('signs up, uploads, moves money, and sees what happens live', async () => {
    const ada = await open()
    await submit(ada, 'sign-up', { tenant, name: 'Ada', email: 'ada@page.example', password })
    await ada.locator('#connection', { hasText: 'Live' }).waitFor()
    expect(await textOf(ada, '#user')).toBe('Ada (owner)')

    const pixels = { width: 400, height: 300, channels: 3, background: 'teal' } as const
    const buffer = await sharp({ create: pixels }).png().toBuffer()
    await ada.setInputFiles('#upload input', { name: '<b>teal</b>.png', mimeType: 'image/png', buffer })
    await ada.click('#upload button')
    await ada.locator('#files img').waitFor()
    expect(await textOf(ada, '#files li')).toContain('<b>teal</b>.png, ')

    await submit(ada, 'open', { currency: 'EUR' })
    await ada.locator('#accounts li', { hasText: '0.00 EUR' }).waitFor()
    await submit(ada, 'fund', { amount: '25.00' })
    await ada.locator('#events li', { hasText: 'ledger.funded' }).waitFor()
    await ada.locator('#accounts li', { hasText: '25.00 EUR' }).waitFor()

    const token = await invitation('alan@page.example')
    expect(await post('/api/auth/invitations/accept', { token, name: 'Alan', password }, {})).toMatchObject({
      status: 200,
    })
    const alan = await open()
    await submit(alan, 'sign-in', { tenant, email: 'alan@page.example', password })
    await alan.locator('#connection', { hasText: 'Live' }).waitFor()
    await until(async () => (await textOf(ada, '#present')).includes(', '))
    await submit(alan, 'open', { currency: 'EUR' })
    await alan.locator('#accounts li', { hasText: '0.00 EUR' }).waitFor()
    const to = (await alan.locator('#known-accounts option').getAttribute('value')) ?? ''
    await submit(ada, 'transfer', { to, amount: '7.50' })
    await alan.locator('#events li', { hasText: 'ledger.transferred' }).waitFor()
    await alan.locator('#accounts li', { hasText: '7.50 EUR' }).waitFor()

    // What is refused is said, and the page goes on.
    await submit(ada, 'transfer', { to, amount: '1000.00' })
    await ada.locator('#problem', { hasText: 'holds 17.50 EUR' }).waitFor()
    // Who closes their window is there no more.
    await alan.context().close()
    await until(async () => (await textOf(ada, '#present')) === 'you')
    const kept = 'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])'
    expect(await ada.evaluate(kept)).toBe('[{},{},""]')
    await ada.click('#sign-out')
    await ada.locator('#sign-in').waitFor()
    expect(await textOf(ada, '#user')).toBe('')
    // The one refusal above.
    expect(complaints.filter((each) => !each.includes('409'))).toEqual([])
  }, 120_000)

  async function invitation(email: string): Promise<string> {
    const owner = { tenant, email: 'ada@page.example', password }
    const { body } = await post('/api/auth/sign-in', owner, {})
    const authorization = `Bearer ${String(body['accessToken'])}`
    const invited = await post('/api/auth/rpc/members/invite', { email }, { authorization })
    return String(invited.body['token'])
  }
})
