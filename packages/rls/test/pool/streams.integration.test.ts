import { once } from 'node:events'
import { Kysely, PostgresDialect } from 'kysely'
import type { PoolClient } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { runWithRlsContext, tenantPolicy, type RlsPool } from '../../src/index.ts'
import { policiesToSql } from '../../src/migrations.ts'
import { callAsTenantA } from '../fixtures/call.ts'
import { contextA, createTwoTenants, tenantA, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
  await fixture.asOwner(
    `create table parents (tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
      id int not null, parent int not null, primary key (tenant_id, id),
      foreign key (tenant_id, parent) references parents (tenant_id, id) deferrable initially deferred)`,
    ...policiesToSql([tenantPolicy('parents')], fixture.roles),
    // COPY FROM is refused where there is row-level security.
    'create table incoming (id int primary key, parent int references incoming (id) deferrable initially deferred)',
    `grant insert, select on incoming to ${fixture.roles.tenant}`,
  )
})
afterAll(() => fixture.drop())

const open = (protocol: 'auto' | 'transaction'): RlsPool =>
  fixture.pool({ protocol, unprotectedTables: ['incoming'] })

const protocols = [['auto'], ['transaction']] as const

const withClient = (pool: RlsPool, run: (client: PoolClient) => Promise<void>): Promise<void> =>
  runWithRlsContext(contextA, async () => {
    const client = await pool.connect()
    try {
      await run(client)
    } finally {
      client.release()
    }
  })

const titlesLike = async (pattern: string): Promise<number | null> =>
  (await fixture.asAdmin('select from notes where title like $1', [pattern])).length

describe.each(protocols)('a write by a cursor or stream, in protocol %s', (protocol) => {
  it('is committed when it has ended', async () => {
    const pool = open(protocol)
    const insert = `insert into notes (tenant_id, title) select '${tenantA}', $1 || n from generate_series(1, 3) n returning id`
    for (let round = 0; round < 20; round++) {
      const name = `${protocol} read ${round} `
      await withClient(pool, async (client) => {
        const cursor = client.query(new Cursor(insert, [name]))
        expect(await cursor.read(10)).toHaveLength(3)
        expect(await cursor.read(10)).toEqual([])
        expect(await titlesLike(`${name}%`)).toBe(3)
      })
    }
  })

  it('is committed when it was closed', async () => {
    const pool = open(protocol)
    const insert = `insert into notes (tenant_id, title) values ('${tenantA}', $1) returning id`
    for (let round = 0; round < 20; round++) {
      const name = `${protocol} closed ${round}`
      await withClient(pool, async (client) => {
        const cursor = client.query(new Cursor(insert, [name]))
        expect(await cursor.read(1)).toHaveLength(1)
        await cursor.close()
        expect(await titlesLike(name)).toBe(1)
      })
    }
  })

  it('fails when its COMMIT fails', async () => {
    const pool = open(protocol)
    const db = new Kysely<{ parents: { id: number; parent: number } }>({
      dialect: new PostgresDialect({ pool, cursor: Cursor }),
    })
    const stream = async (): Promise<void> => {
      for await (const _ of db.insertInto('parents').values({ id: 1, parent: 2 }).returning('id').stream());
    }
    await expect(runWithRlsContext(contextA, stream)).rejects.toMatchObject({ code: '23503' })

    await withClient(pool, async (client) => {
      const text = 'insert into parents (id, parent) values (1, 2) returning id'
      const cursor = client.query(new Cursor(text))
      expect(await cursor.read(1)).toHaveLength(1)
      await expect(cursor.close()).rejects.toMatchObject({ code: '23503' })
    })
    const { rowCount } = await runWithRlsContext(contextA, () => pool.query('select * from parents'))
    expect(rowCount).toBe(0)
  })

  it('sends nothing when it is closed before it is sent', async () => {
    const pool = open(protocol)
    await withClient(pool, async (client) => {
      const cursor = client.query(new Cursor(`insert into parents (id, parent) values (7, 7) returning id`))
      await cursor.close()
      expect((await client.query('select * from parents')).rowCount).toBe(0)
    })
  })
})

describe.each(protocols)('an invocation that is over, in protocol %s', (protocol) => {
  const untilRunning = (text: string): Promise<void> =>
    vi.waitFor(
      async () => {
        const rows = await fixture.asAdmin(
          `select from pg_stat_activity where usename = $1 and state = 'active' and query like $2`,
          [fixture.roles.login, `%${text}%`],
        )
        expect(rows).toHaveLength(1)
      },
      { timeout: 10_000 },
    )

  const working = async (): Promise<number> =>
    (
      await fixture.asAdmin("select from pg_stat_activity where usename = $1 and state <> 'idle'", [
        fixture.roles.login,
      ])
    ).length

  it('cancels what a cursor is reading', async () => {
    const pool = open(protocol)
    const abort = new AbortController()
    const reading = callAsTenantA(abort.signal, async () => {
      const client = await pool.connect()
      try {
        return await client.query(new Cursor('select title, pg_sleep(60) from notes')).read(5)
      } finally {
        client.release()
      }
    }).catch((error: unknown) => error)
    await untilRunning('pg_sleep')
    abort.abort(new Error('the caller went away'))
    expect(await reading).toMatchObject({
      code: 'ERR_CORE_CANCELED',
      cause: { message: 'the caller went away' },
    })
    await vi.waitFor(async () => expect(await working()).toBe(0), { timeout: 10_000 })
    await pool.end()
  })

  it('ends a stream between two of its rows, and starts none', async () => {
    const pool = open(protocol)
    const db = new Kysely<{ notes: { title: string } }>({
      dialect: new PostgresDialect({ pool, cursor: Cursor }),
    })
    const abort = new AbortController()
    let seen = 0
    const reading = callAsTenantA(abort.signal, async () => {
      const client = await pool.connect()
      try {
        for await (const _ of db.selectFrom('notes').select('title').stream(1)) {
          if (++seen === 1) abort.abort()
        }
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_CORE_CANCELED' })
        await expect(client.query(new Cursor('select 1')).read(1)).rejects.toBe(error)
        throw error
      } finally {
        client.release()
      }
    })
    await expect(reading).rejects.toMatchObject({ code: 'ERR_CORE_CANCELED' })
    expect(seen).toBe(1)
    await pool.end()
    expect(await working()).toBe(0)
  })

  it('lets no COPY go on', async () => {
    const pool = open(protocol)
    const abort = new AbortController()
    const copying = callAsTenantA(abort.signal, async () => {
      const client = await pool.connect()
      try {
        const copy = client.query(copyFrom('copy incoming (id) from stdin'))
        const failed = once(copy, 'error')
        copy.write('1\n')
        await untilRunning('copy')
        abort.abort()
        const [error] = (await failed) as [Error]
        throw error
      } finally {
        client.release()
      }
    })
    await expect(copying).rejects.toThrow()
    await pool.end()
    expect(await working()).toBe(0)
  })
})

describe('a COPY whose COMMIT fails', () => {
  it.each(protocols)('fails, in protocol %s', (protocol) =>
    withClient(open(protocol), async (client) => {
      const copy = client.query(copyFrom('copy incoming (id, parent) from stdin'))
      const failed = once(copy, 'error')
      copy.end('1\t2\n')
      expect(await failed).toMatchObject([{ code: '23503' }])
    }),
  )
})
