import { createHash, randomUUID } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import {
  openAppDatabase,
  startApp,
  type AppDatabase,
  type StartedApp,
} from '@quintet/example-platform/testing'
import { postgresUrl } from '@quintet/test-kit'
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
  request(method: string, path: string, sent?: Sent): Promise<Response>
}

async function member(tenantId: string = randomUUID()): Promise<Member> {
  const { authorization } = await app.identity.signIn({ tenantId, userId: randomUUID() })
  return {
    tenantId,
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
    ['no name', '/objects', 'text/plain', 'ERR_MEDIA_BAD_QUERY'],
    ['a name with a control character', '/objects?name=a%07', 'text/plain', 'ERR_MEDIA_BAD_QUERY'],
    ['a member of the query that is unknown', '/objects?name=a&nmae=b', 'text/plain', 'ERR_MEDIA_BAD_QUERY'],
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
