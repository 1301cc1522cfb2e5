import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { openAppDatabase, type AppDatabase } from '@quintet/example-platform/testing'
import { uuidv7 } from '@quintet/core'
import { runWithRlsContext } from '@quintet/rls'
import { postgresUrl } from '@quintet/test-kit'
import { Kysely, PostgresDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { beginObject, completeObject, listObjects, removeObject, shareObject } from '../src/objects.ts'
import type { MediaTables } from '../src/schema.ts'

const quota = { bytes: 1_000, objects: 100 }

let database: AppDatabase
let db: Kysely<MediaTables>

beforeAll(async () => {
  database = await openAppDatabase(postgresUrl(), resolve(import.meta.dirname, '../src/migrations'))
  db = new Kysely({ dialect: new PostgresDialect({ pool: database.pool }) })
})

afterAll(async () => {
  await database[Symbol.asyncDispose]()
})

interface Member {
  readonly tenantId: string
  readonly userId: string
  readonly roles: readonly string[]
}

const memberOf = (tenantId: string, ...roles: string[]): Member => ({
  tenantId,
  userId: randomUUID(),
  roles,
})

async function store(member: Member, id = uuidv7()): Promise<string> {
  await runWithRlsContext(member, async () => {
    const { tenantId, userId: ownerId } = member
    await beginObject(db, { id, tenantId, ownerId, name: 'a', contentType: 'text/plain', size: 1 }, quota)
    await db
      .transaction()
      .execute((trx) => completeObject(trx, id, { size: 1, sha256: '', imageFormat: undefined }, quota))
  })
  return id
}

const remove = (member: Member, id: string): Promise<unknown> =>
  runWithRlsContext(member, () => db.transaction().execute((trx) => removeObject(trx, id)))

describe('removeObject', () => {
  it('is for who has stored the object, and for an owner of the tenant', async () => {
    const tenantId = randomUUID()
    const [member, colleague, owner] = [memberOf(tenantId), memberOf(tenantId), memberOf(tenantId, 'owner')]
    const [first, second] = [await store(member), await store(member)]
    await expect(remove(colleague, first)).rejects.toMatchObject({ code: 'ERR_MEDIA_NO_OBJECT' })
    await runWithRlsContext(member, () => shareObject(db, first, true))
    await expect(remove(colleague, first)).rejects.toMatchObject({
      code: 'ERR_MEDIA_NOT_YOURS',
      kind: 'forbidden',
    })
    await expect(remove(member, first)).resolves.toMatchObject({ id: first })
    await expect(remove(owner, second)).resolves.toMatchObject({ id: second })
  })

  it('knows nothing of an object of another tenant', async () => {
    const id = await store(memberOf(randomUUID()))
    await expect(remove(memberOf(randomUUID(), 'owner'), id)).rejects.toMatchObject({
      code: 'ERR_MEDIA_NO_OBJECT',
    })
  })
})

describe('listObjects', () => {
  it('gives the newest first, page by page', async () => {
    const member = memberOf(randomUUID())
    const ids = []
    for (const now of [1, 2, 3]) ids.push(await store(member, uuidv7(now)))
    const list = (after?: string): Promise<readonly [readonly string[], string | null]> =>
      runWithRlsContext(member, async () => {
        const { items, next } = await listObjects(db, { limit: 2, after })
        return [items.map(({ id }) => id), next] as const
      })
    const [oldest, middle, newest] = ids
    const [first, next] = await list()
    expect(first).toEqual([newest, middle])
    expect(await list(next ?? '')).toEqual([[oldest], null])
  })
})
