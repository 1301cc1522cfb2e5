import Cursor from 'pg-cursor'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { Kysely, PostgresDialect } from 'kysely'
import { text } from 'node:stream/consumers'
import { finished } from 'node:stream/promises'
import { Pool, types, type Notification, type PoolClient } from 'pg'
import { until } from '@quintet/test-kit'
import { createLogger } from '@quintet/core/logger'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  asSystem,
  createRlsPool,
  createSystemPool,
  runWithRlsContext,
  tenantPolicy,
  type RlsPool,
} from '../../src/index.ts'
import { policiesToSql } from '../../src/migrations.ts'
import { contextA, contextB, createTwoTenants, tenantA, type TwoTenants } from '../fixtures/two-tenants.ts'

interface Database {
  notes: { id: number; tenant_id: string; title: string }
}

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
})
afterAll(() => fixture.drop())

const pid = async (pool: RlsPool): Promise<number> =>
  (await pool.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid ?? 0

describe.each([['auto'], ['transaction']] as const)('the explicit path beside protocol %s', (protocol) => {
  let pool: RlsPool
  beforeAll(() => {
    pool = fixture.pool({ protocol }, { max: 1 })
  })
  afterAll(() => pool.end())

  it('streams a cursor of Kysely in the context', async () => {
    const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool, cursor: Cursor }) })
    const seen: string[] = []
    await runWithRlsContext(contextA, async () => {
      for await (const row of db.selectFrom('notes').select('title').orderBy('title').stream(1))
        seen.push(row.title)
    })
    expect(seen).toEqual(['a1', 'a2'])
  })

  it('ends the transaction of a cursor that is closed early, and keeps the connection', async () => {
    const before = await pid(pool)
    await runWithRlsContext(contextB, async () => {
      const client = await pool.connect()
      const cursor = client.query(new Cursor<{ title: string }>('select title from notes order by title'))
      expect(await cursor.read(1)).toEqual([{ title: 'b1' }])
      await cursor.close()
      expect((await client.query('select count(*)::int as n from notes')).rows).toEqual([{ n: 2 }])
      client.release()
    })
    expect(await pid(pool)).toBe(before)
  })

  it('gives the error of a cursor to its reader', async () => {
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      const cursor = client.query(new Cursor('select 1 / 0 from notes'))
      await expect(cursor.read(1)).rejects.toMatchObject({ code: '22012' })
      expect((await client.query('select count(*)::int as n from notes')).rows).toEqual([{ n: 2 }])
      client.release()
    })
  })

  it('drops a connection whose cursor is still open', async () => {
    const before = await pid(pool)
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      await client.query(new Cursor('select title from notes')).read(1)
      client.release()
    })
    expect(await pid(pool)).not.toBe(before)
  })

  it('filters COPY TO, and PostgreSQL refuses COPY FROM', async () => {
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      const copied = await text(
        client.query(copyTo('copy (select title from notes order by title) to stdout')),
      )
      expect(copied).toBe('a1\na2\n')
      const stream = client.query(copyFrom('copy notes (tenant_id, title) from stdin'))
      stream.end(`${tenantA}\tcopied\n`)
      await expect(finished(stream)).rejects.toMatchObject({
        message: expect.stringMatching(/COPY FROM not supported/),
      })
      expect((await client.query('select count(*)::int as n from notes')).rows).toEqual([{ n: 2 }])
      client.release()
    })
  })

  it('reads a cursor inside an open transaction', async () => {
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      await client.query('begin')
      const cursor = client.query(new Cursor<{ title: string }>('select title from notes order by title'))
      expect(await cursor.read(10)).toHaveLength(2)
      await cursor.close()
      await client.query('commit')
      client.release()
    })
  })

  it('hears notifications, and does not hand a listening connection on', async () => {
    const before = await pid(pool)
    const heard: Notification[] = []
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      client.on('notification', (message) => heard.push(message))
      await client.query('listen told')
      await fixture.asAdmin("notify told, 'you'")
      await until(() => heard.length > 0)
      client.release()
    })
    expect(heard[0]).toMatchObject({ channel: 'told', payload: 'you' })
    expect(await pid(pool)).not.toBe(before)
  })
})

describe('a connection on its way back', () => {
  let pool: RlsPool
  beforeAll(() => {
    pool = fixture.pool({}, { max: 1 })
  })
  afterAll(() => pool.end())

  it('is destroyed when a transaction is open', async () => {
    const before = await pid(pool)
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      await client.query('begin')
      await client.query('select 1')
      client.release()
    })
    expect(await pid(pool)).not.toBe(before)
  })

  it('is kept when the transaction never began', async () => {
    const before = await pid(pool)
    const client = await pool.connect()
    await client.query('begin')
    expect((client as unknown as { getTransactionStatus(): string }).getTransactionStatus()).toBe('T')
    client.release()
    expect(await pid(pool)).toBe(before)
  })

  it.each([
    'set search_path = pg_temp',
    'prepare x as select 1',
    'select pg_advisory_lock(1)',
    "select set_config('app.tenant_id', 'x', false)",
  ])('is destroyed after %s', async (statement) => {
    const before = await pid(pool)
    await runWithRlsContext(contextA, () => pool.query(statement))
    expect(await pid(pool)).not.toBe(before)
  })

  it('waits for a statement that nobody waited for', async () => {
    const before = await pid(pool)
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      const late = client.query('select pg_sleep(0.05)')
      client.release()
      await late
    })
    expect(await pid(pool)).toBe(before)
  })
})

describe('what a holder changes of its connection', () => {
  it.each<[string, (client: PoolClient) => unknown]>([
    ['a type parser', (client) => client.setTypeParser(types.builtins.TEXT, (value) => `parsed: ${value}`)],
    ['a property', (client) => Object.assign(client, { marker: 'a' })],
    ['a property that is defined', (client) => Object.defineProperty(client, 'marker', { value: 'a' })],
    ['a property that is gone', (client) => delete (client as { password?: unknown }).password],
  ])('does not reach the next one: %s', async (_what, change) => {
    const pool = fixture.pool({}, { max: 1 })
    const before = await pid(pool)
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      change(client)
      client.release()
    })
    await runWithRlsContext(contextB, async () => {
      const client = await pool.connect()
      expect((client as { marker?: unknown }).marker).toBeUndefined()
      expect((await client.query('select title from notes order by title')).rows[0]).toEqual({ title: 'b1' })
      client.release()
    })
    expect(await pid(pool)).not.toBe(before)
    await pool.end()
  })
})

describe('named statements', () => {
  it('go on when their table changes, or when somebody discards them', async () => {
    await fixture.asOwner(
      'create table changing (tenant_id uuid not null, id int primary key)',
      ...policiesToSql([tenantPolicy('changing')], fixture.roles),
      `insert into changing values ('${tenantA}', 1)`,
    )
    const pool = fixture.pool({}, { max: 1 })
    const before = await pid(pool)
    await runWithRlsContext(contextA, async () => {
      const read = () => pool.query('select * from changing where id = $1', [1])
      expect((await read()).rows).toEqual([{ tenant_id: tenantA, id: 1 }])
      expect((await read()).fields.map(({ name }) => name)).toEqual(['tenant_id', 'id'])
      await fixture.asOwner('alter table changing add column more text')
      expect((await read()).rows).toEqual([{ tenant_id: tenantA, id: 1, more: null }])
      await fixture.asOwner('alter table changing drop column more, add column less int default 2')
      expect((await read()).rows).toEqual([{ tenant_id: tenantA, id: 1, less: 2 }])
    })
    expect(await pid(pool)).toBe(before)
    await pool.end()
  })

  it('tell the columns of a result without rows, and read other rows in other forms', async () => {
    const pool = fixture.pool({}, { max: 1 })
    await runWithRlsContext(contextA, async () => {
      const text = 'select title, size from notes where title = $1'
      for (let turn = 0; turn < 3; turn++) {
        const none = await pool.query(text, ['nothing'])
        expect([none.rows, none.fields.map(({ name }) => name)]).toEqual([[], ['title', 'size']])
        expect((await pool.query({ text, values: ['a1'], rowMode: 'array' })).rows).toEqual([['a1', 0]])
        expect((await pool.query({ text, values: ['a1'], binary: true } as { text: string })).rows).toEqual([
          { title: 'a1', size: 0 },
        ])
        expect((await pool.query({ text, values: ['a1'] })).rows).toEqual([{ title: 'a1', size: 0 }])
        expect((await pool.query('update notes set size = size where title = $1', ['a1'])).rowCount).toBe(1)
      }
    })
    await pool.end()
  })
})

describe('forged settings', () => {
  it('give nothing in the statements after them', async () => {
    const pool = fixture.pool({}, { max: 1 })
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      const titles = async () =>
        (await client.query<{ title: string }>('select title from notes order by 1')).rows.map((r) => r.title)
      await client.query("select set_config('app.tenant_id', $1, false)", [contextB.tenantId])
      expect(await titles()).toEqual(['a1', 'a2'])
      await client.query('begin')
      await client.query(
        "select set_config('app.is_system', 'true', true), set_config('app.tenant_id', $1, true)",
        [contextB.tenantId],
      )
      expect(await titles()).toEqual(['a1', 'a2'])
      await client.query(`set local "app"."tenant_id" = '${contextB.tenantId}'`)
      expect(await titles()).toEqual(['a1', 'a2'])
      await client.query('reset role')
      expect(await titles()).toEqual(['a1', 'a2'])
      for (const role of [fixture.roles.system, fixture.roles.owner, 'postgres']) {
        await client.query('savepoint s')
        await expect(client.query(`set role ${role}`)).rejects.toMatchObject({ code: '42501' })
        await client.query('rollback to s')
      }
      await client.query('rollback')
      client.release()
    })
    await expect(pool.query('select * from notes')).rejects.toMatchObject({ code: '42501' })
    await pool.end()
  })

  it('cannot ride in a second statement of the same text', async () => {
    const pool = fixture.pool()
    await expect(
      runWithRlsContext(contextA, () => pool.query(`select 1; select * from notes`)),
    ).rejects.toMatchObject({ code: '42601' })
    await pool.end()
  })
})

describe('options', () => {
  it('refuses those it does not know', () => {
    const pgPool = fixture.pgPool()
    expect(() => createRlsPool(pgPool, { role: 'x', roles: 'y' } as never)).toThrow(
      /unknown key "roles". Did you mean "role"/,
    )
    expect(() => createRlsPool(pgPool, {} as never)).toThrow(/createRlsPool.role: is missing/)
    expect(() => createRlsPool(pgPool, { role: 'x', maxPreparedStatements: 0 })).toThrow(
      /is not a whole number/,
    )
    expect(() => createRlsPool(pgPool, { role: 'x', protocol: 'fast' as never })).toThrow(
      /protocol: "fast" is not one of/,
    )
    expect(() => createRlsPool(pgPool, { role: 'x', tenantIdType: 'int' as never })).toThrow(
      /tenantIdType: "int" is not one of/,
    )
    expect(() => createSystemPool(pgPool, { role: 'x' } as never)).toThrow(/unknown key/)
  })

  const lines = (): { logger: ReturnType<typeof createLogger>; read: () => string } => {
    let written = ''
    return {
      logger: createLogger({ destination: { write: (line: string) => void (written += line) } }),
      read: () => written,
    }
  }

  it('says once that it takes explicit transactions on an unknown driver', async () => {
    const log = lines()
    class Strange extends Pool {}
    const pgPool = new Strange({ connectionString: fixture.url, max: 2 })
    const Known = (pgPool as unknown as { Client: { Query: new (...args: unknown[]) => object } }).Client
    class Unknown extends (Known as unknown as new () => object) {
      static Query: unknown = class extends Known.Query {
        prepare(): void {}
      }
    }
    Object.assign(pgPool, { Client: Unknown })
    const pool = createRlsPool(pgPool, { role: fixture.roles.tenant, logger: log.logger })
    await runWithRlsContext(contextA, async () => {
      for (let turn = 0; turn < 3; turn++) {
        expect((await pool.query('select count(*)::int as n from notes')).rows).toEqual([{ n: 2 }])
      }
    })
    expect(log.read().match(/explicit transaction/g)).toHaveLength(1)
    await pool.end()
  })

  it('names statements, bounds them, and can leave it', async () => {
    const prepared = async (options: object): Promise<number> => {
      const pool = fixture.pool(options, { max: 1 })
      try {
        return await runWithRlsContext(contextA, async () => {
          for (let turn = 0; turn < 20; turn++) await pool.query(`select ${turn % 10} from notes`)
          const { rows } = await pool.query<{ n: number }>(
            'select count(*)::int as n from pg_prepared_statements',
          )
          return rows[0]?.n ?? -1
        })
      } finally {
        await pool.end()
      }
    }
    expect(await prepared({})).toBe(11)
    // Four, and the one of the context.
    expect(await prepared({ maxPreparedStatements: 4 })).toBe(5)
    expect(await prepared({ preparedStatements: false })).toBe(0)
  })

  it('takes ids of other types', async () => {
    await fixture.asOwner('create table plain (id int primary key)')
    const pool = fixture.pool({ tenantIdType: 'bigint', userIdType: 'text' })
    const setting = () =>
      pool.query("select current_setting('app.tenant_id') || current_setting('app.user_id') as both")
    expect((await runWithRlsContext({ tenantId: '42', userId: 'auth0|x' }, setting)).rows).toEqual([
      { both: '42auth0|x' },
    ])
    for (const tenantId of ['1234567890123456789', '-9223372036854775808', '9223372036854775807']) {
      expect((await runWithRlsContext({ tenantId }, setting)).rows).toEqual([{ both: tenantId }])
    }
    for (const tenantId of ['4x2', '9223372036854775808', '-9223372036854775809', '1e3', '']) {
      await expect((async () => runWithRlsContext({ tenantId }, setting))()).rejects.toMatchObject({
        code: 'ERR_RLS_INVALID_CONTEXT',
      })
    }
    await pool.end()
  })

  it('records each use of the system login before it happens', async () => {
    const seen: unknown[] = []
    const pool = fixture.pool({ audit: (access) => void seen.push(access) })
    await runWithRlsContext(contextA, () =>
      asSystem('count', async () => {
        await pool.query('select 1')
        await pool.query('select 2')
      }),
    )
    expect(seen).toEqual([{ reason: 'count', tenantId: tenantA, userId: contextA.userId }])
    await pool.end()

    const strict = fixture.pool({
      audit: () => {
        throw new Error('no record, no access')
      },
    })
    await expect(asSystem('count', () => strict.query('select 1'))).rejects.toThrow('no record, no access')
    await strict.end()

    const log = lines()
    const logged = createSystemPool(fixture.pgPool({ connectionString: fixture.systemUrl }), {
      logger: log.logger,
    })
    await asSystem('nightly count', () => logged.query('select count(*) from notes'))
    expect(log.read()).toContain('nightly count')
    await expect(logged.query('select 1')).rejects.toMatchObject({ code: 'ERR_RLS_WRONG_SCOPE' })
    await logged.end()
  })

  it.each([
    ['at once', async () => {}],
    ['after a pause', () => new Promise((resolve) => setImmediate(resolve))],
  ])('lets the audit write to the database %s', async (_, pause) => {
    await fixture.asOwner(
      'create table accesses (reason text)',
      `grant select, insert on accesses to ${fixture.roles.system}`,
    )
    const pool = fixture.pool({
      audit: async ({ reason }) => {
        await pause()
        await pool.query('insert into accesses values ($1)', [reason])
      },
    })
    await asSystem('count', () => pool.query('select 1'))
    expect(await fixture.asAdmin('select reason from accesses')).toEqual([{ reason: 'count' }])
    await pool.end()
    await fixture.asOwner('drop table accesses')
  })

  it('keeps nothing of a statement that something else has sent in a copy of its own', async () => {
    const pgPool = fixture.pgPool({ max: 1 })
    // As tracing does that adds comments to SQL.
    pgPool.on('connect', (client) => {
      const send = client.query.bind(client) as (query: object) => unknown
      client.query = ((query: { text?: string; values?: unknown[]; callback?: unknown }) =>
        send({ ...query, text: query.text, values: query.values, callback: query.callback })) as never
    })
    const pool = createRlsPool(pgPool, { role: fixture.roles.tenant, check: false })
    await expect(runWithRlsContext(contextA, () => pool.query('select 1'))).rejects.toMatchObject({
      code: 'ERR_RLS_DRIVER_WRAPPED',
    })
    await expect(runWithRlsContext(contextA, () => pool.query('select * from notes'))).rejects.toMatchObject({
      code: 'ERR_RLS_DRIVER_WRAPPED',
    })
    await pool.end()
  })

  it('refuses asSystem without a system pool, and without a reason', async () => {
    const pool = createRlsPool(fixture.pgPool(), { role: fixture.roles.tenant })
    await expect(asSystem('try', () => pool.query('select 1'))).rejects.toMatchObject({
      code: 'ERR_RLS_NO_SYSTEM_POOL',
    })
    expect(() => asSystem(' ', () => 1)).toThrow(TypeError)
    await pool.end()
  })
})
