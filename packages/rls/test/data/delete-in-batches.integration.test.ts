import { Kysely, PostgresDialect, sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asSystem } from '../../src/index.ts'
import { deleteInBatches } from '../../src/data.ts'
import { policiesToSql } from '../../src/migrations.ts'
import { tenantPolicy } from '../../src/index.ts'
import { createTwoTenants, tenantA, tenantB, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants
let db: Kysely<object>

beforeAll(async () => {
  fixture = await createTwoTenants()
  await fixture.asOwner(
    `create table logs (tenant_id uuid not null, at date not null) partition by range (at)`,
    `create table logs_2020 partition of logs for values from ('2020-01-01') to ('2021-01-01')`,
    `create table logs_2026 partition of logs for values from ('2026-01-01') to ('2027-01-01')`,
    ...['logs', 'logs_2020', 'logs_2026'].flatMap((table) =>
      policiesToSql([tenantPolicy(table)], fixture.roles),
    ),
  )
  db = new Kysely({ dialect: new PostgresDialect({ pool: fixture.pool() }) })
})
afterAll(() => fixture.drop())

const clear = (where: ReturnType<typeof sql>, batch = 5_000) =>
  asSystem('clear', () => deleteInBatches(db, 'logs', where, { batch }))

describe('deleteInBatches of a partitioned table', () => {
  it('deletes the rows that match, and those alone, in batches of any size', async () => {
    await fixture.asOwner(
      `insert into logs select '${tenantA}', '2020-05-01' from generate_series(1, 10)`,
      `insert into logs select '${tenantB}', '2026-05-01' from generate_series(1, 10)`,
      `insert into logs select '${tenantA}', '2026-06-01' from generate_series(1, 10)`,
    )
    expect(await clear(sql`at < '2021-01-01'`)).toBe(10)
    expect(await clear(sql`tenant_id = ${tenantA} or at < '2000-01-01'`, 3)).toBe(10)
    const left = await fixture.asAdmin<{ tenant_id: string; n: number }>(
      'select tenant_id, count(*)::int as n from logs group by 1',
    )
    expect(left).toEqual([{ tenant_id: tenantB, n: 10 }])
    expect(await clear(sql`true`)).toBe(10)
  })

  it('deletes rows that another session changes meanwhile', async () => {
    await fixture.asOwner(`insert into logs select '${tenantA}', '2020-05-01' from generate_series(1, 5)`)
    const other = await fixture.pgPool({ connectionString: fixture.adminUrl }).connect()
    try {
      await other.query('begin')
      await other.query(`update logs set at = '2020-06-01'`)
      const cleared = clear(sql`tenant_id = ${tenantA}`)
      await expect
        .poll(() =>
          fixture.asAdmin(`select 1 from pg_locks where not granted and locktype = 'transactionid'`),
        )
        .toHaveLength(1)
      await other.query('commit')
      expect(await cleared).toBe(5)
    } finally {
      other.release()
    }
  })

  it('fails where a trigger keeps the rows', async () => {
    await fixture.asOwner(
      `insert into logs values ('${tenantA}', '2020-05-01')`,
      `create function keep() returns trigger language plpgsql as 'begin return null; end'`,
      `create trigger keep before delete on logs_2020 for each row execute function keep()`,
    )
    await expect(clear(sql`true`)).rejects.toThrow('rows of logs match and cannot be deleted')
  })
})
