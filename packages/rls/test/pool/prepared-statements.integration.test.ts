import { Kysely, PostgresDialect } from 'kysely'
import type { PoolClient } from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  createRlsPool,
  mapPostgresError,
  runWithRlsContext,
  tenantPolicy,
  type RlsPool,
} from '../../src/index.ts'
import { policiesToSql } from '../../src/migrations.ts'
import { contextA, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
})
afterAll(() => fixture.drop())

const asTenantA = <Result>(run: () => Promise<Result>): Promise<Result> => runWithRlsContext(contextA, run)

/** The statements of the app that its only connection has prepared. */
const prepared = async (pool: RlsPool): Promise<string[]> => {
  const { rows } = await asTenantA(() =>
    pool.query<{ statement: string }>(
      `select statement from pg_prepared_statements
       where statement not like '%set_config%' and statement not like '%pg_prepared_statements%' and statement not ilike 'begin%'`,
    ),
  )
  return rows.map(({ statement }) => statement)
}

const times = async (count: number, run: (turn: number) => Promise<unknown>): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await run(turn)
}

describe('a statement whose table has changed under a running app', () => {
  beforeEach(() =>
    fixture.asOwner(
      'drop table if exists changing',
      'create table changing (tenant_id uuid not null, id int not null, size int not null default 0)',
      `insert into changing values ('${contextA.tenantId}', 1)`,
      ...policiesToSql([tenantPolicy('changing')], fixture.roles),
    ),
  )

  interface Tables {
    changing: { tenant_id: string; id: number; size: number }
  }
  const kysely = (max: number): Kysely<Tables> =>
    new Kysely<Tables>({ dialect: new PostgresDialect({ pool: fixture.pool({ check: false }, { max }) }) })

  it('goes on reading all columns, also within transactions', async () => {
    const db = kysely(1)
    const read = () =>
      asTenantA(() =>
        db.transaction().execute(async (transaction) => {
          await transaction.selectFrom('changing').select('id').execute()
          const rows = await transaction.selectFrom('changing').selectAll().execute()
          await transaction.updateTable('changing').set({ size: 1 }).returningAll().execute()
          return Object.keys(rows[0] ?? {})
        }),
      )
    await times(3, read)
    await fixture.asOwner('alter table changing add extra text')
    expect(await read()).toEqual(['tenant_id', 'id', 'size', 'extra'])
    await fixture.asOwner('alter table changing add more text')
    expect(await read()).toHaveLength(5)
  })

  it('is sent again where it opens its transaction', async () => {
    const db = kysely(1)
    const read = () =>
      asTenantA(() =>
        db.transaction().execute(async (transaction) => {
          const rows = await transaction.selectFrom('changing').select('size').execute()
          await transaction.updateTable('changing').set({ id: 7 }).execute()
          return rows
        }),
      )
    await times(3, read)
    await fixture.asOwner('alter table changing alter size type bigint')
    expect(await read()).toEqual([{ size: '0' }])
    expect(await fixture.asAdmin('select id from changing')).toEqual([{ id: 7 }])
  })

  it('fails once in all connections where it cannot be sent again, as a conflict that may be retried', async () => {
    const pool = fixture.pool({ check: false }, { max: 4 })
    const read = async (client: PoolClient): Promise<unknown> => {
      await client.query('begin')
      try {
        await client.query('select id from changing')
        return (await client.query('select size from changing')).rows
      } catch (error) {
        return error
      } finally {
        await client.query('rollback')
      }
    }
    await asTenantA(async () => {
      const clients = await Promise.all(Array.from({ length: 4 }, () => pool.connect()))
      for (const client of clients) await times(3, () => read(client))
      await fixture.asOwner('alter table changing alter size type bigint')
      const results: unknown[] = []
      for (const client of clients) results.push(await read(client))
      const failed = results.filter((result) => result instanceof Error)
      expect(failed).toHaveLength(1)
      expect(mapPostgresError(failed[0])).toMatchObject({ code: 'ERR_RLS_CONFLICT', retryAfter: 50 })
      for (const client of clients) client.release()
    })
    await pool.end()
  })
})

describe('a prepared statement that fails by the value it was given', () => {
  it('runs once, whatever its functions do before they fail', async () => {
    await fixture.asOwner(
      'create sequence runs',
      `create function count_and_cast(value text) returns int language plpgsql
         as $$ begin perform nextval('runs'); return value::int; end $$`,
      `grant usage on sequence runs to ${fixture.roles.tenant}`,
      `grant execute on function count_and_cast to ${fixture.roles.tenant}`,
    )
    const pool = fixture.pool({}, { max: 1 })
    const run = (value: string) => asTenantA(() => pool.query('select count_and_cast($1)', [value]))
    await times(3, () => run('1'))
    for (const code of ['22P02', '22003'])
      await expect(run(code === '22003' ? '99999999999' : 'none')).rejects.toMatchObject({ code })
    expect(await fixture.asAdmin('select last_value::int as n from runs')).toEqual([{ n: 5 }])
    await pool.end()
  })

  it('is prepared anew where its table has changed', async () => {
    await fixture.asOwner(
      'create table widening (tenant_id uuid not null, id int not null)',
      ...policiesToSql([tenantPolicy('widening')], fixture.roles),
    )
    const pool = fixture.pool({}, { max: 1 })
    const insert = (id: number | string) =>
      asTenantA(() =>
        pool.query('insert into widening (tenant_id, id) values ($1, $2)', [contextA.tenantId, id]),
      )
    await times(3, insert)
    await fixture.asOwner('alter table widening alter id type bigint')
    await insert('99999999999')
    expect(await fixture.asAdmin('select max(id) as id from widening')).toEqual([{ id: '99999999999' }])
    await pool.end()
  })
})

describe('the statements that a connection keeps', () => {
  it('are those that came twice', async () => {
    const pool = fixture.pool({}, { max: 1 })
    await asTenantA(() => pool.query('select 1 as once'))
    await times(2, () => asTenantA(() => pool.query('select 2 as twice')))
    expect(await prepared(pool)).toEqual(['select 2 as twice'])
    await pool.end()
  })

  it('are neither long nor of many values', async () => {
    const pool = fixture.pool({}, { max: 1 })
    const insertOf = (rows: number): Promise<unknown> => {
      const places = Array.from({ length: rows }, (_, index) => `($${index + 1}::int)`).join(', ')
      const values = Array.from({ length: rows }, (_, index) => index)
      return asTenantA(() => pool.query(`select count(*) from (values ${places}) v`, values))
    }
    await times(3, () => insertOf(900))
    await times(3, () => insertOf(300))
    expect(await prepared(pool)).toEqual([])
    await times(3, () => insertOf(100))
    expect(await prepared(pool)).toHaveLength(1)
    await pool.end()
  })

  it('are bounded in characters', async () => {
    const pool = fixture.pool({}, { max: 1 })
    for (let turn = 0; turn < 60; turn++) {
      const text = `select ${turn} as n, '${'x'.repeat(8_000)}' as filler`
      await times(2, () => asTenantA(() => pool.query(text)))
    }
    const kept = await prepared(pool)
    expect(kept.length).toBeGreaterThan(20)
    expect(kept.join('').length).toBeLessThanOrEqual(262_144)
    expect(kept.some((text) => text.startsWith('select 59'))).toBe(true)
    await pool.end()
  })

  it('are one, whatever comments tracing adds to those without a name', async () => {
    const pgPool = fixture.pgPool({ max: 1 })
    let traces = 0
    // As tracing does that puts a traceparent into the text of each statement without a name.
    pgPool.on('connect', (client) => {
      const send = client.query.bind(client) as (query: object) => unknown
      client.query = ((query: { text: string; name?: string }) => {
        const { text, name } = query
        const comment = name ? 'service' : `trace ${++traces}`
        Object.defineProperty(query, 'text', { get: () => `/*${comment}*/ ${text}`, configurable: true })
        return send(query)
      }) as never
    })
    const pool = createRlsPool(pgPool, { role: fixture.roles.tenant, check: false })
    await times(20, async () => {
      const { rowCount } = await asTenantA(() => pool.query('select title from notes'))
      expect(rowCount).toBe(2)
    })
    expect(await prepared(pool)).toEqual(['/*service*/ select title from notes'])
    await pool.end()
  })

  it('are prepared again when their holder has taken them back', async () => {
    const pool = fixture.pool({}, { max: 1 })
    const client = await asTenantA(() => pool.connect())
    const read = () => asTenantA(() => client.query('select title from notes'))
    await times(3, read)
    await asTenantA(() => client.query('deallocate all'))
    expect((await read()).rowCount).toBe(2)
    await asTenantA(() => client.query(`do $$ begin execute 'deallocate all'; end $$`))
    expect((await read()).rowCount).toBe(2)
    client.release()
    await pool.end()
  })
})
