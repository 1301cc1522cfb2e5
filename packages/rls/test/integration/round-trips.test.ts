import { Kysely, PostgresDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runWithRlsContext } from '../../src/index.ts'
import { contextA, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'
import { startWireTap, type WireTap } from '../fixtures/wire-tap.ts'

interface Database {
  notes: { id: number; tenant_id: string; title: string }
}

let fixture: TwoTenants
let tap: WireTap
let db: Kysely<Database>

beforeAll(async () => {
  fixture = await createTwoTenants()
  tap = await startWireTap(fixture.url)
  const url = new URL(fixture.url)
  url.port = String(tap.port)
  db = new Kysely({
    dialect: new PostgresDialect({ pool: fixture.pool({}, { connectionString: url.href, max: 1 }) }),
  })
  await runWithRlsContext(contextA, () => db.selectFrom('notes').select('title').execute())
})
afterAll(async () => {
  await db.destroy()
  await tap[Symbol.asyncDispose]()
  await fixture.drop()
})

const read = (from: Kysely<Database>) => from.selectFrom('notes').select('title').execute()

describe('round trips on the wire', () => {
  it('is one for a query', async () => {
    tap.reset()
    for (let turn = 0; turn < 10; turn++) await runWithRlsContext(contextA, () => read(db))
    expect(tap.roundTrips).toBe(10)
  })

  it.each([1, 2, 5])('is %i + 1 for a transaction of as many queries', async (queries) => {
    tap.reset()
    await runWithRlsContext(contextA, () =>
      db.transaction().execute(async (trx) => {
        for (let turn = 0; turn < queries; turn++) await read(trx)
      }),
    )
    expect(tap.roundTrips).toBe(queries + 1)
  })

  it('is none for a transaction without a statement', async () => {
    tap.reset()
    await runWithRlsContext(contextA, () => db.transaction().execute(async () => undefined))
    expect(tap.roundTrips).toBe(0)
  })
})
