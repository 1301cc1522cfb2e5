import { randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startPrivateRedis } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { Client as PgClient } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually, expectStatus, stringOf } from '../src/expect.ts'
import { openOwnStage, type OwnStage } from './own-stage.ts'

type Body = Record<string, unknown>

let own: OwnStage
let redis: Awaited<ReturnType<typeof startPrivateRedis>>

beforeAll(async () => {
  redis = await startPrivateRedis()
  own = await openOwnStage({ redisUrl: redis.url })
}, 120_000)

afterAll(async () => {
  await own.close()
  await redis[Symbol.asyncDispose]()
})

const password = `correct horse ${randomUUID()}`

async function call(app: string, method: string, input: unknown, token: string): Promise<Body> {
  return expectStatus(await own.client.rpc(app, method, input, { token }), 200, method)
}

async function post(path: string, body: unknown): Promise<Body> {
  return expectStatus(await own.client.post(path, body), 200, path)
}

/** Where a text is found: rows of all databases, keys of Redis, logs and mail. */
async function findTraces(mark: string): Promise<readonly string[]> {
  return [...(await findInTables(mark)), ...(await findInRedis(mark)), ...(await findInFiles(mark))]
}

async function findInTables(mark: string): Promise<readonly string[]> {
  const { user, password: secret } = JSON.parse(
    await readFile(join(own.directory, 'postgres', 'superuser.json'), 'utf8'),
  ) as Record<'user' | 'password', string>
  const { servers } = await own.stage.ecosystem.status()
  const port = servers.find(({ name }) => name === 'postgres')?.port
  const connect = async (database: string): Promise<PgClient> => {
    const client = new PgClient({ host: '127.0.0.1', port, user, password: secret, database })
    await client.connect()
    return client
  }
  const rows = async (
    database: string,
    text: string,
    values: unknown[] = [],
  ): Promise<Record<string, string>[]> => {
    const client = await connect(database)
    try {
      return (await client.query<Record<string, string>>(text, values)).rows
    } finally {
      await client.end()
    }
  }
  const found: string[] = []
  const databases = await rows('postgres', "select datname from pg_database where datname like 'quintet%'")
  for (const { datname = '' } of databases) {
    const tables = await rows(
      datname,
      `select format('%I.%I', schemaname, tablename) as name from pg_tables
       where schemaname not in ('pg_catalog', 'information_schema')`,
    )
    for (const { name = '' } of tables) {
      const hits = await rows(
        datname,
        `select to_jsonb(t)::text as row from ${name} t where lower(to_jsonb(t)::text) like $1 limit 3`,
        [`%${mark}%`],
      )
      found.push(...hits.map(({ row }) => `${datname} ${name}: ${row ?? ''}`))
    }
  }
  return found
}

/** How the value of a key is read, by its type. */
const readers: Readonly<Record<string, (client: Redis, key: string) => Promise<unknown>>> = {
  string: (client, key) => client.get(key),
  hash: (client, key) => client.hgetall(key),
  list: (client, key) => client.lrange(key, '0', '-1'),
  set: (client, key) => client.smembers(key),
  zset: (client, key) => client.zrange(key, '0', '-1'),
  stream: (client, key) => client.xrange(key, '-', '+'),
}

async function findInRedis(mark: string): Promise<readonly string[]> {
  const found: string[] = []
  for (let db = 0; db < 16; db++) {
    const client = new Redis(redis.url, { db })
    for (const key of await client.keys('*')) {
      const read = readers[await client.type(key)]
      const text = key + JSON.stringify(await read?.(client, key))
      if (text.toLowerCase().includes(mark)) found.push(`redis ${db} ${key}`)
    }
    client.disconnect()
  }
  return found
}

async function findInFiles(mark: string): Promise<readonly string[]> {
  const found: string[] = []
  for (const folder of ['logs', 'objects']) {
    const entries = await readdir(join(own.directory, folder), { recursive: true, withFileTypes: true })
    for (const entry of entries.filter((each) => each.isFile())) {
      const path = join(entry.parentPath, entry.name)
      const text = path + (await readFile(path, 'latin1'))
      if (text.toLowerCase().includes(mark)) found.push(path)
    }
  }
  return found
}

/** A tenant with an owner, and a member whose every text holds the mark. */
async function leaveTraces(mark: string): Promise<{ owner: string; user: string; userId: string }> {
  const tenant = `t-${randomUUID()}`
  const signedUp = await post('/api/auth/sign-up', {
    tenant,
    email: `owner@${tenant}.example`,
    name: 'Owner',
    password,
  })
  const owner = stringOf(signedUp, 'accessToken')
  const ownerId = stringOf(signedUp['user'] as Body, 'id')
  const email = `${mark}@example.com`
  const { token } = await call('auth', 'members.invite', { email, roles: ['owner'] }, owner)
  const accepted = await post('/api/auth/invitations/accept', { token, name: `Name ${mark}`, password })
  const user = stringOf(accepted, 'accessToken')
  const userId = stringOf(accepted['user'] as Body, 'id')
  await own.client.post('/api/auth/sign-in', { tenant, email, password: 'not the password' })
  await post('/api/auth/sign-in', { tenant, email, password })

  const text = Buffer.from(`content of ${mark}`)
  const upload = async (name: string): Promise<string> => {
    const path = `/api/media/objects?name=${encodeURIComponent(`${mark}-${name}`)}`
    const stored = await own.client.upload(path, text, 'text/plain', { token: user })
    return stringOf(expectStatus(stored, 201, 'upload'), 'id')
  }
  const shared = await upload('shared.txt')
  await call('media', 'objects.share', { id: shared, shared: true }, user)
  await call('media', 'objects.remove', { id: await upload('gone.txt') }, user)
  const open = async (of: string): Promise<string> => {
    const { value } = await eventually('an account', async () => {
      const asked = { currency: 'EUR', ownerId: of }
      const { status, body } = await own.client.rpc('ledger', 'ledger.openAccount', asked, { token: user })
      // The ledger hears of users by an event.
      return status === 404 ? undefined : stringOf(body as Body, 'id')
    })
    return value
  }
  const [from, to] = [await open(userId), await open(ownerId)]
  const key = (): string => `${mark}-${randomUUID()}`
  await call('ledger', 'ledger.fund', { account: from, amount: '10.00', idempotencyKey: key() }, user)
  await call('ledger', 'ledger.transfer', { from, to, amount: '1.00', idempotencyKey: key() }, user)

  for (const [what, by] of [
    ['export', user],
    ['exportTenant', owner],
  ] as const) {
    const { id } = await call('auth', `account.${what}`, {}, by)
    await eventually(
      what,
      async () => (await call('auth', 'account.exported', { id }, by))['complete'] === true || undefined,
      { timeoutMs: 30_000, everyMs: 100 },
    )
  }
  expect(await findTraces(mark)).not.toEqual([])
  return { owner, user, userId }
}

async function expectNoTraces(mark: string): Promise<void> {
  let left: readonly string[] = []
  await eventually(
    'an end of all traces',
    async () => {
      left = await findTraces(mark)
      return left.length === 0 || undefined
    },
    { timeoutMs: 60_000, everyMs: 500 },
  ).catch(() => undefined)
  expect(left).toEqual([])
}

describe('who is removed', () => {
  it('leaves no trace in any table, key, file or log of any app', async () => {
    const mark = `zebra${randomUUID().slice(0, 8)}`
    const { owner, userId } = await leaveTraces(mark)
    await call('auth', 'members.remove', { user: userId }, owner)
    await expectNoTraces(mark)
  }, 120_000)

  it('leaves none with their tenant either', async () => {
    const mark = `okapi${randomUUID().slice(0, 8)}`
    const { owner } = await leaveTraces(mark)
    await call('auth', 'account.removeTenant', { password }, owner)
    await expectNoTraces(mark)
  }, 120_000)
})
