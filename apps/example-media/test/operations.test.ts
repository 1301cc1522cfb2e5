import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { attackOperations, type OperationAnswer, type OperationCase } from '@quintet/core/testing'
import {
  openAppDatabase,
  startApp,
  type AppDatabase,
  type StartedApp,
} from '@quintet/example-platform/testing'
import { postgresUrl } from '@quintet/test-kit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import media from '../src/bootstrap.ts'
import http from '../src/http.ts'

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

interface Actor {
  readonly headers: Readonly<Record<string, string>>
}

async function actor(tenantId: string, role: string, userId: string = randomUUID()): Promise<Actor> {
  return { headers: await app.identity.signIn({ tenantId, userId, roles: [role] }) }
}

async function send(
  by: Actor,
  method: string,
  path: string,
  body?: object | string,
): Promise<OperationAnswer> {
  const type = typeof body === 'string' ? 'text/plain' : 'application/json'
  const response = await fetch(app.url() + path, {
    method,
    headers: { ...by.headers, ...(body !== undefined && { 'content-type': type }) },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  return { status: response.status, text: await response.text() }
}

const secret = 'what no one else may read'

async function store(by: Actor): Promise<string> {
  const { text } = await send(by, 'POST', '/objects?name=secret-name', secret)
  return (JSON.parse(text) as { id: string }).id
}

it('shows and gives objects to who may have them alone, in whatever operation', async () => {
  const tenantId = randomUUID()
  const [boss, owner, member] = [
    await actor(tenantId, 'owner'),
    await actor(tenantId, 'owner'),
    await actor(tenantId, 'member'),
  ]
  const gone = randomUUID()
  const removed = await actor(tenantId, 'owner', gone)
  await app.identity.auth.authority.revokeAll({ tenantId, userId: gone })
  const actors = {
    'the member': member,
    'a colleague': await actor(tenantId, 'member'),
    'another role': await actor(tenantId, 'auditor'),
    'a removed owner': removed,
    'an owner of another tenant': await actor(randomUUID(), 'owner'),
    'no one': { headers: {} },
  }
  const id = await store(member)
  const state = async (): Promise<unknown> => {
    const { rows } = await database.systemPool.query(
      `select id, name, shared, status from objects where tenant_id = $1 and name = 'secret-name' order by id`,
      [tenantId],
    )
    return rows
  }
  const mine = ['the member']
  const secrets = ['secret-name', secret]
  const tried = (
    call: OperationCase<Actor>['call'],
    allowed: readonly string[] = mine,
  ): (() => OperationCase<Actor>) => {
    return () => ({ call, allowed, secrets, state })
  }
  const rpc =
    (name: string, input: object): OperationCase<Actor>['call'] =>
    (by) =>
      send(by, 'POST', `/rpc/objects/${name}`, input)
  const of = await store(boss)
  const cases = {
    'objects.list': tried(rpc('list', {})),
    'objects.get': tried(rpc('get', { id })),
    'objects.share': tried(rpc('share', { id, shared: false })),
    'objects.remove': tried(rpc('remove', { id: of }), []),
    'POST /objects': tried(
      (by) => send(by, 'POST', '/objects?name=another', 'text'),
      [...mine, 'a colleague', 'another role', 'an owner of another tenant'],
    ),
    'GET /objects/:id/content': tried((by) => send(by, 'GET', `/objects/${id}/content`)),
  }
  const flaws = await attackOperations<Actor>({ processes: [http], owner, actors, cases })
  // A text has no thumbnail, and is rendered by a sibling: no one is given anything there.
  expect(flaws).toEqual(['GET /objects/:id/thumbnail has no case', 'GET /render/image/* has no case'])
  for (const by of Object.values(actors).slice(1)) {
    for (const path of [`/objects/${id}/thumbnail`, `/render/image/${id}`])
      expect([401, 404]).toContain((await send(by, 'GET', path)).status)
  }
}, 60_000)
