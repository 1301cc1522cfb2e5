import { createHash, randomUUID } from 'node:crypto'
import { request as httpRequest, type ClientRequest } from 'node:http'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import {
  openAppDatabase,
  startApp,
  type AppDatabase,
  type StartedApp,
} from '@quintet/example-platform/testing'
import { postgresUrl, until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import media from '../src/bootstrap.ts'

const source = resolve(import.meta.dirname, '../src')

let database: AppDatabase
let directory: string
let app: StartedApp

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'quintet-media-'))
  database = await openAppDatabase(postgresUrl(), resolve(source, 'migrations'))
  app = await startApp(media, {
    baseUrl: source,
    process: 'http',
    database,
    env: { MEDIA_DIRECTORY: directory },
  })
})

afterAll(async () => {
  await app[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
  await rm(directory, { recursive: true, force: true })
})

interface Sent {
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
}

interface Member {
  readonly tenantId: string
  readonly userId: string
  readonly authorization: string
  request(method: string, path: string, sent?: Sent): Promise<Response>
}

async function member(tenantId: string = randomUUID()): Promise<Member> {
  const userId = randomUUID()
  const { authorization } = await app.identity.signIn({ tenantId, userId })
  return {
    tenantId,
    userId,
    authorization,
    request: (method, path, { headers, ...init } = {}) =>
      fetch(app.url() + path, { ...init, method, headers: { authorization, ...headers } }),
  }
}

async function upload(by: Member, body: string, type = 'text/plain'): Promise<Response> {
  return by.request('POST', '/objects?name=a.txt', { body, headers: { 'content-type': type } })
}

describe('an object', () => {
  it('comes back as it was stored, for its tenant alone, never to be run by a browser', async () => {
    const [owner, stranger] = [await member(), await member()]
    const text = 'what was stored'
    const stored = await upload(owner, text, 'text/html')
    expect(stored.status).toBe(201)
    const object = (await stored.json()) as { id: string; size: number; sha256: string }
    expect(object).toMatchObject({
      size: text.length,
      sha256: createHash('sha256').update(text).digest('hex'),
    })
    const path = `/${stored.headers.get('location') ?? ''}`
    const content = await owner.request('GET', path)
    expect([content.status, await content.text()]).toEqual([200, text])
    const part = await owner.request('GET', path, { headers: { range: 'bytes=5-7' } })
    expect([part.status, await part.text(), part.headers.get('content-range')]).toEqual([
      206,
      text.slice(5, 8),
      `bytes 5-7/${text.length}`,
    ])
    const etag = content.headers.get('etag') ?? ''
    const again = await owner.request('GET', path, { headers: { 'if-none-match': etag } })
    expect([again.status, await again.text()]).toEqual([304, ''])
    const beyond = await owner.request('GET', path, { headers: { range: `bytes=${text.length}-` } })
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, `bytes */${text.length}`])
    const colleague = await member(owner.tenantId)
    expect((await colleague.request('GET', path)).status).toBe(404)
    expect(content.headers.get('content-disposition')).toMatch(/^attachment;/)
    expect((await stranger.request('GET', path)).status).toBe(404)
    expect((await fetch(app.url() + path)).status).toBe(401)
  })

  it('is listed and removed with its file', async () => {
    const owner = await member()
    const { id } = (await (await upload(owner, 'x')).json()) as { id: string }
    const rpc = (name: string, input: object): Promise<Response> =>
      owner.request('POST', `/rpc/objects/${name}`, {
        body: JSON.stringify(input),
        headers: { 'content-type': 'application/json' },
      })
    expect(await (await rpc('list', {})).json()).toMatchObject({ items: [{ id }] })
    expect((await rpc('remove', { id })).status).toBe(200)
    expect(await (await rpc('list', {})).json()).toEqual({ items: [], next: null })
    expect((await owner.request('GET', `/objects/${id}/content`)).status).toBe(404)
    const files = await readdir(directory, { recursive: true })
    expect(files.filter((file) => file.includes(id))).toEqual([])
  })

  it.each([
    ['a type that is none', '/objects?name=a', 'text', 'ERR_MEDIA_BAD_TYPE'],
    ['no name', '/objects', 'text/plain', 'ERR_CORE_INVALID_INPUT'],
    ['a name that is given twice', '/objects?name=a&name=b', 'text/plain', 'ERR_CORE_INVALID_INPUT'],
    ['a name with a control character', '/objects?name=a%07', 'text/plain', 'ERR_CORE_INVALID_INPUT'],
    [
      'a member of the query that is unknown',
      '/objects?name=a&nmae=b',
      'text/plain',
      'ERR_CORE_INVALID_INPUT',
    ],
  ])('with %s is refused, and nothing is kept', async (_, path, type, code) => {
    const owner = await member()
    const response = await owner.request('POST', path, { body: 'x', headers: { 'content-type': type } })
    expect(await response.json()).toMatchObject({ status: 400, code })
    expect(await readdir(directory)).not.toContain(owner.tenantId)
  })
})

it('stores nothing for who is not signed in', async () => {
  const response = await fetch(`${app.url()}/objects?name=a`, { method: 'POST', body: 'x' })
  expect(response.status).toBe(401)
})

describe('uploads that last', () => {
  /** Sends the first byte of a body. */
  const begin = (by: Member): { readonly request: ClientRequest; readonly status: Promise<number> } => {
    const { promise, resolve: answered } = Promise.withResolvers<number>()
    const request = httpRequest(`${app.url()}/objects?name=slow`, {
      method: 'POST',
      headers: { authorization: by.authorization, 'content-type': 'text/plain' },
    })
    request.on('response', (response) => {
      response.resume()
      answered(response.statusCode ?? 0)
    })
    request.on('error', () => answered(0))
    request.write('x')
    return { request, status: promise }
  }
  const filesOf = async ({ tenantId }: Member): Promise<readonly string[]> =>
    readdir(join(directory, tenantId)).catch(() => [])

  it('take no places from the rest of the tenant, half of their own from one user, and end with the session', async () => {
    const greedy = await member()
    const colleague = await member(greedy.tenantId)
    const uploads = Array.from({ length: 7 }, () => begin(greedy))
    await until(async () => (await filesOf(greedy)).length === 4)
    for (const by of [colleague, greedy]) {
      const listed = await by.request('POST', '/rpc/objects/list', {
        body: '{}',
        headers: { 'content-type': 'application/json' },
      })
      expect(listed.status).toBe(200)
    }
    expect((await upload(colleague, 'quick')).status).toBe(201)
    // What found no place is refused long before a deadline, each when it has waited for so long.
    const refused: number[] = []
    for (const { status } of uploads) void status.then((answered) => refused.push(answered))
    await until(() => refused.length === 3, 20_000)
    expect(refused).toEqual([429, 429, 429])
    await app.identity.auth.authority.revokeAll({ tenantId: greedy.tenantId, userId: greedy.userId })
    const statuses = await Promise.all(uploads.map(({ status }) => status))
    expect(statuses.toSorted()).toEqual([401, 401, 401, 401, 429, 429, 429])
    await until(async () => (await filesOf(greedy)).length === 1)
    for (const { request } of uploads) request.destroy()
  }, 60_000)

  it('find nothing to store when they were erased meanwhile', async () => {
    const owner = await member()
    const { request, status } = begin(owner)
    await until(async () => (await filesOf(owner)).length === 1)
    await rm(join(directory, owner.tenantId), { recursive: true })
    request.end()
    expect(await status).toBe(404)
  })
})
