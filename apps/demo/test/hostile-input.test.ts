import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Client } from '../src/client.ts'
import { expectStatus, stringOf } from '../src/expect.ts'
import type { LiveStage } from '../src/live-stage.ts'
import { openOwnStage, type OwnStage } from './own-stage.ts'

const apps = ['auth', 'media', 'ledger', 'analytics', 'realtime'] as const

let own: OwnStage
let stage: LiveStage
let client: Client
let token: string

beforeAll(async () => {
  own = await openOwnStage()
  ;({ stage, client } = own)
  const account = {
    tenant: `mallory-${randomUUID().slice(0, 8)}`,
    email: 'mallory@example.com',
    name: 'Mallory',
    password: `correct horse ${randomUUID()}`,
  }
  token = stringOf(
    expectStatus(await client.post('/api/auth/sign-up', account), 200, 'sign-up'),
    'accessToken',
  )
}, 120_000)

afterAll(() => own.close())

describe('what is for operators', () => {
  it.each(apps)(
    'is shown by %s to who brings the token of the ecosystem, and hidden from others',
    async (app) => {
      const { ecosystem } = stage
      const [, urls] =
        Object.entries(ecosystem.urls).find(([id, { http }]) => id.startsWith(`${app}/`) && http) ?? []
      const place = `${urls?.['http']}/metrics`
      const asked = async (headers: Record<string, string>): Promise<number> => {
        const answer = await fetch(place, { headers })
        await answer.arrayBuffer()
        return answer.status
      }
      expect(await asked({})).toBe(401)
      expect(await asked({ authorization: `Bearer ${token}` })).toBe(401)
      expect(await asked({ authorization: `Bearer ${ecosystem.secret('operator-token')}` })).toBe(200)
    },
  )
})

interface Schema {
  readonly type?: string
  readonly format?: string
  readonly pattern?: string
  readonly properties?: Readonly<Record<string, Schema>>
}

/** A procedure that the OpenAPI document of an app lists. */
interface Listed {
  readonly path: string
  readonly input: Schema
}

async function proceduresOf(app: string): Promise<Listed[]> {
  const { body } = await client.get(`/api/${app}/openapi.json`)
  const { paths } = body as {
    paths: Record<
      string,
      { post?: { requestBody?: { content: { 'application/json'?: { schema: Schema } } } } }
    >
  }
  return Object.entries(paths).flatMap(([path, { post }]) => {
    const input = post?.requestBody?.content['application/json']?.schema
    return input === undefined ? [] : [{ path, input }]
  })
}

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

/** JSON texts that no procedure expects, or that are wrong in one place. */
const texts: readonly string[] = [
  ...['', '{', 'null', 'true', '0', '-1', '1e308', '1e400', '9007199254740993', '1.5', '[]', '[null]', '{}'],
  ...['"', '""', '" "', '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\r\\nx: y"', '"%s%n"', '"$1"'],
  ...['"\'; drop table accounts; --"', '"../../etc/passwd"', '"__proto__"', '"constructor"', '"NaN"', '"-0"'],
  ...['{"__proto__":{"admin":true}}', '{"$ne":null}', '{"toString":1}', '{"a":1,"a":2}', '"2026-13-45"'],
  ...[
    nested(30),
    nested(70),
    nested(5_000),
    JSON.stringify('x'.repeat(100_000)),
    JSON.stringify('9'.repeat(400)),
  ],
]

/** Inputs of the right shape but for one member, for each member and each text. */
function inputsOf({ properties = {} }: Schema): string[] {
  const names = Object.keys(properties)
  return names.flatMap((wrong) =>
    texts.map(
      (text) =>
        `{${names
          .map(
            (name) => `${JSON.stringify(name)}:${name === wrong ? text : plausible(properties[name] ?? {})}`,
          )
          .join(',')}}`,
    ),
  )
}

function plausible({ type, format, pattern }: Schema): string {
  if (format === 'uuid') return JSON.stringify(randomUUID())
  if (format === 'email') return JSON.stringify(`${randomUUID()}@example.com`)
  if (type === 'integer' || type === 'number') return '1'
  if (type === 'boolean') return 'false'
  if (pattern?.includes('[A-Z]{3}') === true) return '"EUR"'
  return pattern?.includes('\\d') === true ? '"1.00"' : '"abcdef"'
}

/** What an answer must never show: where the code is, what PostgreSQL said, whom the app talks to. */
const revealing = /\.[jt]s:\d|\bat \/|syntax error|relation "|column "|ECONN|violates|127\.0\.0\.1/

async function send(url: string, body: string, headers: Record<string, string>): Promise<void> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  })
  const text = await answer.text()
  const context = `${url.slice(stage.gatewayUrl.length)} ${body.slice(0, 100)} -> ${answer.status} ${text.slice(0, 300)}`
  expect(answer.status, context).toBeLessThan(500)
  // Of its own clients, the audit trail tells the owners of a tenant where they came from.
  const told = text.replaceAll('"address":"127.0.0.1"', '')
  expect(told, context).not.toMatch(revealing)
}

/** The first line that a server answers with to bytes as they are; empty when it just hangs up. */
async function answerTo(url: string, bytes: string | Buffer): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  socket.on('error', () => undefined)
  socket.write(bytes)
  // What is answered without the connection being ended is seen once the line is complete.
  const lined = new Promise<void>((resolve) => socket.on('data', () => text.includes('\r\n') && resolve()))
  await Promise.race([once(socket, 'close'), lined])
  socket.destroy()
  return text.split('\r\n', 1)[0] ?? ''
}

const host = 'Host: localhost\r\n'
const malformed: Readonly<Record<string, string | Buffer>> = {
  'random bytes': Buffer.concat([randomBytes(2_000), Buffer.from('\r\n\r\n')]),
  'a TLS hello': Buffer.from('1603010200010001fc0303', 'hex'),
  'no host': 'GET / HTTP/1.1\r\n\r\n',
  'two hosts': `GET / HTTP/1.1\r\n${host}${host}\r\n`,
  'two kinds of length': `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'two codings': `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n`,
  'two lengths': `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
  'a negative length': `POST / HTTP/1.1\r\n${host}Content-Length: -5\r\n\r\n`,
  'a folded header': `GET / HTTP/1.1\r\n${host}X: a\r\n b\r\n\r\n`,
  'bare line feeds': 'GET / HTTP/1.1\nHost: a\n\n',
  'a NUL in a header': `GET / HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`,
  'a huge header': `GET / HTTP/1.1\r\n${host}X: ${'a'.repeat(100_000)}\r\n\r\n`,
  'no such version': `GET / HTTP/9.9\r\n${host}\r\n`,
  'a tunnel': `CONNECT a:1 HTTP/1.1\r\n${host}\r\n`,
  'a trace': `TRACE / HTTP/1.1\r\n${host}\r\n`,
  'an escaped way up': `GET /x/%2e%2e/y HTTP/1.1\r\n${host}\r\n`,
  'an upgrade without a key': `GET /nowhere HTTP/1.1\r\n${host}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n`,
}

/** The status of a sign-in by a client at another address. */
async function signInFrom(localAddress: string, credentials: Record<string, string>): Promise<number> {
  const sending = request(`${stage.gatewayUrl}/api/auth/sign-in`, {
    method: 'POST',
    localAddress,
    headers: { 'content-type': 'application/json' },
  })
  sending.end(JSON.stringify(credentials))
  const [response] = (await once(sending, 'response')) as [IncomingMessage]
  response.resume()
  return response.statusCode ?? 0
}

describe('guesses of a password', () => {
  it('use up the attempts of their own address alone', async () => {
    const credentials = {
      tenant: `victim-${randomUUID().slice(0, 8)}`,
      email: 'victim@example.com',
      password: `correct horse ${randomUUID()}`,
    }
    expectStatus(await client.post('/api/auth/sign-up', { ...credentials, name: 'Victim' }), 200, 'sign-up')
    const statuses = []
    for (let guess = 0; guess < 11; guess++)
      statuses.push(await signInFrom('127.0.0.2', { ...credentials, password: 'a guess' }))
    expect(statuses.at(-1)).toBe(429)
    expect(await signInFrom('127.0.0.2', credentials)).toBe(429)
    expect(await signInFrom('127.0.0.3', credentials)).toBe(200)
  })
})

describe('hostile input to the running fan-out', () => {
  it.each(apps)(
    'gets no failure out of any procedure of %s, and no answer that shows too much',
    async (app) => {
      for (const { path, input } of await proceduresOf(app)) {
        // Mallory goes on as herself.
        if (/\/signOut/.test(path)) continue
        const url = `${stage.gatewayUrl}/api/${app}${path}`
        const inputs = [...texts, ...inputsOf(input)]
        const lane = async (): Promise<void> => {
          for (let body = inputs.pop(); body !== undefined; body = inputs.pop())
            await send(url, body, { authorization: `Bearer ${token}` })
        }
        await Promise.all([lane(), lane(), lane(), lane()])
      }
    },
    60_000,
  )

  it.each([
    ['no token at all', {}],
    ['no token in it', { authorization: 'Bearer' }],
    ['a word', { authorization: 'Bearer hello' }],
    ['an unsigned token', { authorization: 'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.' }],
    ['three empty parts', { authorization: 'Bearer ..' }],
    ['another scheme', { authorization: 'Basic YTpi' }],
    ['a forged identity beside', { 'x-user-id': '1', 'x-tenant-id': '1', 'x-forwarded-user': 'root' }],
  ])('is let in nowhere with %s', async (_name, headers: Record<string, string>) => {
    for (const [app, method] of [
      ['auth', 'account/me'],
      ['media', 'objects/list'],
      ['ledger', 'ledger/accounts'],
      ['analytics', 'stats/counts'],
      ['realtime', 'channels/mine'],
    ]) {
      const answer = await fetch(`${stage.gatewayUrl}/api/${app}/rpc/${method}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: '{}',
      })
      expect([400, 401], `${app} ${method}`).toContain(answer.status)
      expect(await answer.text()).not.toMatch(revealing)
    }
  })

  it('is answered with a refusal, or not at all, when it is no HTTP that is served: by the gateway and by each app itself', async () => {
    const { processes } = await stage.ecosystem.status()
    const urls = processes.flatMap((each) => Object.values(each.urls)).filter((url) => url.startsWith('http'))
    expect(urls.length).toBeGreaterThanOrEqual(apps.length)
    for (const url of new Set([stage.gatewayUrl, ...urls])) {
      for (const [name, bytes] of Object.entries(malformed))
        expect(await answerTo(url, bytes), `${name} to ${url}`).toMatch(/^(?:HTTP\/1\.1 (?:4\d\d|501) .*)?$/)
    }
  }, 60_000)

  it('is stored only if it can be given back: names, types and bytes of uploads', async () => {
    const options = { token }
    const bytes = randomBytes(5_000)
    for (const [name, type] of [
      ['a\u0000b', 'image/png'],
      ['a\nb', 'image/png'],
      ['x'.repeat(201), 'image/png'],
      ['a', 'no/such;;;'],
      ['a', `image/${'x'.repeat(3_000)}`],
    ]) {
      const answer = await client.upload(
        `/api/media/objects?name=${encodeURIComponent(name ?? '')}`,
        bytes,
        type ?? '',
        options,
      )
      expectStatus(answer, 400, `${JSON.stringify(name)} ${String(type)}`)
    }
    const path = `/api/media/objects?name=${encodeURIComponent('../../etc/passwd "<é>')}`
    const stored = expectStatus(await client.upload(path, bytes, 'image/png', options), 201, 'upload')
    const back = await client.getBytes(`/api/media/objects/${stringOf(stored, 'id')}/content`, options)
    expect(back.bytes.equals(bytes)).toBe(true)
    expect(back.headers.get('content-disposition')).toMatch(/^attachment; filename\*=UTF-8''[\w.%-]+$/)
    for (const rest of [
      '..%2f..%2fetc/content',
      '%00/content',
      'x/content',
      `${'a'.repeat(7_000)}/content`,
    ]) {
      const { status } = await client.getBytes(`/api/media/objects/${rest}`, options)
      expect([400, 404], rest).toContain(status)
    }
  })

  it('has ended no process', async () => {
    const { processes } = await stage.ecosystem.status()
    expect(processes.filter(({ restarts, phase }) => restarts > 0 || phase === 'failed')).toEqual([])
  })
})
