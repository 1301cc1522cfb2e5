import { Kysely, PostgresDialect, sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  asSystem,
  createRlsPool,
  currentRlsContext,
  runWithRlsContext,
  type RlsPool,
  type RlsPoolOptions,
} from '../../src/index.ts'
import {
  contextA,
  contextB,
  createTwoTenants,
  tenantA,
  tenantB,
  userA,
  type TwoTenants,
} from '../fixtures/two-tenants.ts'

interface Database {
  notes: { id: number; tenant_id: string; title: string; size: number }
}

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
})
afterAll(() => fixture.drop())

const variants: readonly (readonly [string, Partial<RlsPoolOptions>, object])[] = [
  ['named statements', {}, {}],
  ['unnamed statements', { preparedStatements: false }, {}],
  ['pipelined connections', {}, { pipeline: true }],
  ['explicit transactions', { protocol: 'transaction' }, {}],
]

const titles = async (pool: RlsPool): Promise<string[]> =>
  (await pool.query<{ title: string }>('select title from notes order by title')).rows.map(
    ({ title }) => title,
  )

describe('two pools over one pool of pg', () => {
  it('leave each other nothing of a tenant', async () => {
    const shared = fixture.pgPool({ max: 1 })
    const [first, second] = [0, 1].map(() => createRlsPool(shared, { role: fixture.roles.tenant }))
    await runWithRlsContext(contextA, () => first?.query(`select set_config('my.secret', 'of A', false)`))
    const read = `select current_setting('my.secret', true) as secret`
    for (const pool of [second, first, second]) {
      const answer = await runWithRlsContext(contextB, () => pool?.query<{ secret: string | null }>(read))
      expect(answer?.rows[0]?.secret ?? '').toBe('')
    }
  })
})

describe.each(variants)('a pool with %s', (_, options, config) => {
  let pool: RlsPool
  let db: Kysely<Database>

  beforeAll(() => {
    pool = fixture.pool(options, { max: 2, ...config })
    db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })
  })
  afterAll(() => pool.end())

  it('shows each tenant its rows', async () => {
    expect(await runWithRlsContext(contextA, () => titles(pool))).toEqual(['a1', 'a2'])
    expect(await runWithRlsContext(contextB, () => titles(pool))).toEqual(['b1', 'b2'])
  })

  it.each([
    'begin',
    'start transaction',
    'commit',
    'rollback',
    'begin; select 1; commit',
    'set transaction read only',
  ])('refuses %j, which means nothing on a connection for one statement', async (text) => {
    await expect(runWithRlsContext(contextA, () => pool.query(text))).rejects.toThrow(
      'Take one with connect()',
    )
  })

  it('begins each kind of transaction as it was asked for, however long its text', async () => {
    const kinds = ['read committed', 'repeatable read', 'serializable'].flatMap((level) =>
      ['read only', 'read write'].flatMap((access) =>
        ['', ', deferrable', ', not deferrable'].map((more) => [level, access, more] as const),
      ),
    )
    const client = await runWithRlsContext(contextA, () => pool.connect())
    try {
      const ask = async ([level, access, more]: (typeof kinds)[number]) => {
        await client.query(
          `/* ${'x'.repeat(80)} */ start transaction isolation level ${level}, ${access}${more}`,
        )
        const { rows } = await client.query<Record<'level' | 'readonly' | 'deferrable', string>>(
          `select current_setting('transaction_isolation') as level, current_setting('transaction_read_only') as readonly,
            current_setting('transaction_deferrable') as deferrable`,
        )
        await client.query('commit')
        return rows[0]
      }
      await runWithRlsContext(contextA, async () => {
        for (const kind of [...kinds, ...kinds]) {
          const [level, access, more] = kind
          expect(await ask(kind)).toEqual({
            level,
            readonly: access === 'read only' ? 'on' : 'off',
            deferrable: more === ', deferrable' ? 'on' : 'off',
          })
        }
      })
    } finally {
      client.release()
    }
  })

  it('refuses two statements in one text', async () => {
    const stacked = `select 1; select set_config('app.tenant_id', '${tenantB}', true); select title from notes`
    const attempt = runWithRlsContext(contextA, () => pool.query(stacked))
    await expect(attempt).rejects.toMatchObject({ code: '42601' })
  })

  it('outlives the views of it that are bound to a context', async () => {
    const bound = pool.withContext(contextA)
    await bound.end()
    await bound[Symbol.asyncDispose]()
    expect(await titles(pool.withContext(contextB))).toEqual(['b1', 'b2'])
  })

  it('is known as a pool to those who go by the name of its class', () => {
    expect(pool.constructor.name).toBe('RlsPool')
  })

  it('answers 42501 without a context', async () => {
    await expect(titles(pool)).rejects.toMatchObject({
      code: '42501',
      hint: expect.stringContaining('No row-level security context is open here') as string,
    })
    await expect(runWithRlsContext(contextA, () => pool.query('create table x ()'))).rejects.toMatchObject({
      code: '42501',
      hint: undefined,
    })
    await expect(db.selectFrom('notes').selectAll().execute()).rejects.toMatchObject({ code: '42501' })
    await expect(
      db.transaction().execute((trx) => trx.selectFrom('notes').selectAll().execute()),
    ).rejects.toMatchObject({ code: '42501' })
  })

  it('works for Kysely with parameters', async () => {
    const rows = await runWithRlsContext(contextA, () =>
      db.selectFrom('notes').select(['title', 'tenant_id']).where('title', 'in', ['a1', 'b1']).execute(),
    )
    expect(rows).toEqual([{ title: 'a1', tenant_id: tenantA }])
  })

  it('gives the settings of the context to SQL', async () => {
    const { rows } = await runWithRlsContext({ ...contextA, roles: ['admin', 'editor'] }, () =>
      pool.query(`select current_setting('app.tenant_id') as tenant, current_setting('app.user_id') as "user",
        current_setting('app.roles') as roles, current_setting('app.is_system') as system, current_user as role`),
    )
    expect(rows[0]).toEqual({
      tenant: tenantA,
      user: userA,
      roles: 'admin,editor',
      system: 'false',
      role: fixture.roles.tenant,
    })
  })

  it('leaves nothing on the connection', async () => {
    await runWithRlsContext(contextA, () => titles(pool))
    const { rows } = await pool.query(
      `select current_setting('app.tenant_id', true) as tenant, current_user as "user"`,
    )
    expect(rows[0]).toEqual({ tenant: '', user: fixture.roles.login })
  })

  it('keeps the context of a transaction over its statements', async () => {
    const inserted = await runWithRlsContext(contextA, () =>
      db.transaction().execute(async (trx) => {
        await trx
          .insertInto('notes')
          .values({ tenant_id: tenantA, title: 'in trx' } as never)
          .execute()
        const seen = await trx.selectFrom('notes').select('title').orderBy('title').execute()
        await trx.deleteFrom('notes').where('title', '=', 'in trx').execute()
        return seen.map(({ title }) => title)
      }),
    )
    expect(inserted).toEqual(['a1', 'a2', 'in trx'])
  })

  it('rolls a failed transaction back and keeps working', async () => {
    await expect(
      runWithRlsContext(contextA, () =>
        db.transaction().execute(async (trx) => {
          await trx
            .insertInto('notes')
            .values({ tenant_id: tenantA, title: 'lost' } as never)
            .execute()
          await sql`select 1/0`.execute(trx)
        }),
      ),
    ).rejects.toMatchObject({ code: '22012' })
    expect(await runWithRlsContext(contextA, () => titles(pool))).toEqual(['a1', 'a2'])
  })

  it('follows nested contexts within one transaction and restores the outer one', async () => {
    const seen = await runWithRlsContext(contextA, () =>
      db.transaction().execute(async (trx) => {
        const read = async () =>
          (await trx.selectFrom('notes').select('title').orderBy('title').execute()).map((r) => r.title)
        const before = await read()
        const inner = await runWithRlsContext(contextB, read)
        return [before, inner, await read()]
      }),
    )
    expect(seen).toEqual([
      ['a1', 'a2'],
      ['b1', 'b2'],
      ['a1', 'a2'],
    ])
  })

  it('restores the context when a savepoint is rolled back', async () => {
    const client = await pool.connect()
    try {
      const read = async () =>
        (await client.query<{ title: string }>('select title from notes order by title')).rows.map(
          (r) => r.title,
        )
      await runWithRlsContext(contextA, async () => {
        await client.query('begin')
        await client.query('savepoint one')
        await runWithRlsContext(contextB, async () => {
          expect(await read()).toEqual(['b1', 'b2'])
          await expect(client.query('select 1/0')).rejects.toMatchObject({ code: '22012' })
          await client.query('rollback to savepoint one')
          expect(await read()).toEqual(['b1', 'b2'])
        })
        expect(await read()).toEqual(['a1', 'a2'])
        await client.query('rollback')
      })
    } finally {
      client.release()
    }
  })

  it('refuses a row of another tenant with 42501', async () => {
    await expect(
      runWithRlsContext(contextA, () =>
        pool.query('insert into notes (tenant_id, title) values ($1, $2)', [tenantB, 'forged']),
      ),
    ).rejects.toMatchObject({ code: '42501' })
  })

  it('goes to the system login inside asSystem, and only there', async () => {
    const all = await asSystem('count all notes', () => titles(pool))
    expect(all).toEqual(['a1', 'a2', 'b1', 'b2'])
    await runWithRlsContext(contextA, async () => {
      expect(await asSystem('again', () => titles(pool))).toHaveLength(4)
      expect(await titles(pool)).toEqual(['a1', 'a2'])
      expect(currentRlsContext()?.isSystem).toBe(false)
    })
  })

  it("refuses a tenant's transaction inside asSystem and a system one outside", async () => {
    await runWithRlsContext(contextA, () =>
      db.transaction().execute(async (trx) => {
        await trx.selectFrom('notes').select('id').execute()
        await expect(
          asSystem('borrow', () => trx.selectFrom('notes').select('id').execute()),
        ).rejects.toMatchObject({ code: 'ERR_RLS_WRONG_SCOPE' })
      }),
    )
    const client = await asSystem('take', () => pool.connect())
    await expect(client.query('select 1')).rejects.toMatchObject({ code: 'ERR_RLS_WRONG_SCOPE' })
    client.release()
  })

  it('recovers a named statement whose text does not parse', async () => {
    await runWithRlsContext(contextA, async () => {
      for (let turn = 0; turn < 3; turn++) {
        await expect(pool.query('selec 1')).rejects.toMatchObject({ code: '42601' })
        await expect(pool.query({ name: 'mine', text: 'select from nowhere' })).rejects.toMatchObject({
          code: '42P01',
        })
        await expect(pool.query('select 1 / $1::int', [0])).rejects.toMatchObject({ code: '22012' })
        expect((await pool.query('select 1 / $1::int as one', [1])).rows).toEqual([{ one: 1 }])
      }
    })
  })

  it('takes every form in which pg takes a statement', async () => {
    await runWithRlsContext(contextA, async () => {
      const called = await new Promise((resolve, reject) => {
        pool.query('select title from notes where title = $1', ['a1'], (error, result) =>
          error ? reject(error) : resolve(result.rows),
        )
      })
      expect(called).toEqual([{ title: 'a1' }])
      const array = await pool.query({ text: 'select title from notes order by 1', rowMode: 'array' })
      expect(array.rows).toEqual([['a1'], ['a2']])
      const withClient = await new Promise((resolve, reject) => {
        pool.connect((error, client, done) => {
          if (error || !client) return reject(error)
          client.query(
            { text: 'select $1::int as n', values: [7] },
            (failure: Error | null, result: { rows: unknown[] }) => {
              done()
              if (failure) reject(failure)
              else resolve(result.rows)
            },
          )
        })
      })
      expect(withClient).toEqual([{ n: 7 }])
    })
  })

  it('binds a pool to one context explicitly', async () => {
    const bound = pool.withContext(contextB)
    expect(await titles(bound)).toEqual(['b1', 'b2'])
    const client = await bound.connect()
    expect((await client.query('select count(*)::int as n from notes')).rows).toEqual([{ n: 2 }])
    client.release()
  })

  it('refuses a malformed tenant id before anything is sent', async () => {
    await expect(runWithRlsContext({ tenantId: "x' or true --" }, () => titles(pool))).rejects.toMatchObject({
      code: 'ERR_RLS_INVALID_CONTEXT',
      kind: 'invalid-input',
    })
    expect(await runWithRlsContext(contextA, () => titles(pool))).toEqual(['a1', 'a2'])
  })
})
