import { Secret, silentLogger } from '@quintet/core'
import {
  createHealthChecks,
  createLifecycle,
  type HealthChecks,
  type OwnedLifecycle,
} from '@quintet/core/kit'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { asSystem, runWithRlsContext } from '../../src/index.ts'
import { openDatabase, type Database, type OpenDatabaseOptions } from '../../src/app.ts'
import { callAsTenantA } from '../fixtures/call.ts'
import { contextA, contextB, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

interface Tables {
  notes: { id: number; tenant_id: string; title: string; size: number }
}

let fixture: TwoTenants
let lifecycle: OwnedLifecycle

beforeAll(async () => {
  fixture = await createTwoTenants()
})
afterAll(() => fixture.drop())
beforeEach(() => {
  lifecycle = createLifecycle({ logger: silentLogger })
})
afterEach(() => lifecycle.close())

const open = (options: OpenDatabaseOptions = {}): Database<Tables> & { readonly health: HealthChecks } => {
  const health = createHealthChecks()
  const config = {
    database: { url: new Secret(fixture.url), systemUrl: new Secret(fixture.systemUrl) },
  }
  return { ...openDatabase<Tables>({ config, logger: silentLogger, lifecycle, health }, options), health }
}

/** How many backends of a login run a statement. */
const running = async (login: string): Promise<number> => {
  const [row] = await fixture.asAdmin<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity where usename = $1 and state = 'active'`,
    [login],
  )
  return row?.count ?? -1
}

describe('openDatabase', () => {
  it('holds Kysely to the tenant of the running code, and ends with the process', async () => {
    const { db, pool, systemPool, health } = open()
    const titles = await runWithRlsContext(contextA, () => db.selectFrom('notes').select('title').execute())
    expect(titles.map(({ title }) => title).toSorted()).toEqual(['a1', 'a2'])
    expect((await health.report()).status).toBe('pass')
    await lifecycle.close()
    expect(pool.ended).toBe(true)
    expect(systemPool.ended).toBe(true)
  })

  it.each([
    ['statementTimeout', 'statement_timeout'],
    ['lockTimeout', 'lock_timeout'],
    ['idleInTransactionTimeout', 'idle_in_transaction_session_timeout'],
  ] as const)('sets %s in both pools', async (option, setting) => {
    const { pool, systemPool } = open({ [option]: '7s' })
    const show = `select current_setting('${setting}') as value`
    for (const each of [pool, systemPool]) {
      const { rows } = await each.query<{ value: string }>(show)
      expect(rows[0]?.value).toBe('7s')
    }
  })

  it('is not ready while a table is open to all tenants, and is once that is mended', async () => {
    await fixture.asOwner('create table half_made (tenant_id uuid)')
    await fixture.asOwner(`grant select on half_made to ${fixture.roles.tenant}`)
    const { db, health } = open()
    const notes = () => runWithRlsContext(contextA, () => db.selectFrom('notes').select('title').execute())
    try {
      await expect(notes()).rejects.toMatchObject({ code: 'ERR_RLS_UNSAFE_ROLES' })
      expect(await health.report()).toMatchObject({ status: 'fail' })
    } finally {
      await fixture.asOwner('drop table half_made')
    }
    await vi.waitFor(async () => expect(await health.report()).toMatchObject({ status: 'pass' }), 10_000)
    expect(await notes()).toHaveLength(2)
  })

  it('passes on what an RLS pool takes', async () => {
    const reasons: string[] = []
    const { pool } = open({
      userIdType: 'text',
      tenantIdType: 'text',
      audit: ({ reason }) => void reasons.push(reason),
      check: false,
      preparedStatements: false,
    })
    const show = `select current_setting('app.user_id') as id, (select count(*)::int from pg_prepared_statements) as prepared`
    const asked = () => pool.query<{ id: string; prepared: number }>(show)
    const context = { userId: 'user-1', tenantId: 'tenant-1', roles: [], isSystem: false }
    const { rows } = await runWithRlsContext(context, async () => (await asked(), asked()))
    expect(rows).toEqual([{ id: 'user-1', prepared: 0 }])
    await asSystem('counting', asked)
    expect(reasons).toEqual(['counting'])
  })

  it('refuses unknown options by name', () => {
    expect(() => open({ statementTimeuot: '1s' } as never)).toThrow(/statementTimeuot.*statementTimeout/)
  })

  it('gives a tenant no more than its share of the connections, and the others theirs', async () => {
    const { pool } = open({ connections: 4, connectionTimeout: '200ms' })
    const held = await runWithRlsContext(contextA, () => Promise.all([pool.connect(), pool.connect()]))
    await expect(runWithRlsContext(contextA, () => pool.query('select 1'))).rejects.toMatchObject({
      code: 'ERR_RLS_TENANT_BUSY',
      kind: 'rate-limited',
    })
    const { rowCount } = await runWithRlsContext(contextB, () => pool.query('select * from notes'))
    expect(rowCount).toBe(2)
    const waiting = runWithRlsContext(contextA, () => pool.query('select * from notes'))
    for (const client of held) client.release()
    expect((await waiting).rowCount).toBe(2)
  })

  it('fails its check when the tenants have no connection left', async () => {
    const { pool, health } = open({ connections: 1, connectionTimeout: '2s' })
    const held = await runWithRlsContext(contextA, () => pool.connect())
    expect((await health.report()).status).toBe('fail')
    held.release()
  })
})

describe('an invocation that is over', () => {
  it.each([['auto'], ['transaction']] as const)(
    'cancels its statement at the server, in protocol %s',
    async (protocol) => {
      const pool = fixture.pool({ protocol })
      const abort = new AbortController()
      const ended = callAsTenantA(abort.signal, () => pool.query('select pg_sleep(60)')).catch(
        (error: unknown) => error,
      )
      await vi.waitFor(async () => expect(await running(fixture.roles.login)).toBe(1))
      abort.abort(new Error('the caller went away'))
      expect(await ended).toMatchObject({
        code: 'ERR_CORE_CANCELED',
        cause: { message: 'the caller went away' },
      })
      await vi.waitFor(async () => expect(await running(fixture.roles.login)).toBe(0))
      const { rowCount } = await runWithRlsContext(contextB, () => pool.query('select * from notes'))
      expect(rowCount).toBe(2)
      await pool.end()
    },
  )

  it('cancels work of the system too', async () => {
    const { pool } = open()
    const abort = new AbortController()
    const ended = callAsTenantA(abort.signal, () =>
      asSystem('a report', () => pool.query('select pg_sleep(60)')),
    ).catch((error: unknown) => error)
    await vi.waitFor(async () => expect(await running(fixture.roles.system)).toBe(1))
    abort.abort(new Error('the caller went away'))
    await ended
    await vi.waitFor(async () => expect(await running(fixture.roles.system)).toBe(0))
  })

  it('rolls its transaction back and frees the rows that it held', async () => {
    const { db } = open()
    const abort = new AbortController()
    const ended = callAsTenantA(abort.signal, () =>
      db.transaction().execute(async (trx) => {
        await trx.updateTable('notes').set({ size: 7 }).execute()
        await sql`select pg_sleep(60)`.execute(trx)
      }),
    ).catch((error: unknown) => error)
    await vi.waitFor(async () => expect(await running(fixture.roles.login)).toBe(1))
    abort.abort(new Error('the caller went away'))
    await ended
    const rows = await runWithRlsContext(contextA, () => db.updateTable('notes').set({ size: 0 }).execute())
    expect(rows[0]?.numUpdatedRows).toBe(2n)
  })

  it('sends nothing more on the connection that it holds, and cleans up on another one', async () => {
    const { pool } = open()
    const abort = new AbortController()
    const cleaned = await callAsTenantA(abort.signal, async () => {
      const client = await pool.connect()
      await client.query('begin')
      await client.query('update notes set size = 7')
      abort.abort(new Error('the caller went away'))
      await expect(client.query('select 1')).rejects.toMatchObject({ code: 'ERR_CORE_CANCELED' })
      await client.query('rollback')
      client.release()
      return pool.query('select title from notes where size = 0')
    })
    expect(cleaned.rowCount).toBe(2)
  })

  it('no longer waits for a connection, and the one that comes later goes back', async () => {
    const pool = fixture.pool({}, { max: 1 })
    const held = await runWithRlsContext(contextA, () => pool.connect())
    const abort = new AbortController()
    const ended = callAsTenantA(abort.signal, () => pool.query('select 1')).catch((error: unknown) => error)
    await vi.waitFor(() => expect(pool.waitingCount).toBe(1))
    abort.abort(new Error('the caller went away'))
    expect(await ended).toMatchObject({
      code: 'ERR_CORE_CANCELED',
      cause: { message: 'the caller went away' },
    })
    held.release()
    await vi.waitFor(() => expect(pool.idleCount).toBe(1))
    await pool.end()
  })
})

describe('an abort signal of Kysely', () => {
  it.each([['cancel query'], ['kill session']] as const)(
    'stops a statement inside asSystem: %s',
    async (inflightQueryAbortStrategy) => {
      const { db } = open()
      const abort = new AbortController()
      const ended = asSystem('a report', () =>
        sql`select pg_sleep(60)`.execute(db, { signal: abort.signal, inflightQueryAbortStrategy }),
      ).catch((error: unknown) => error)
      await vi.waitFor(async () => expect(await running(fixture.roles.system)).toBe(1))
      abort.abort(new Error('enough'))
      await ended
      await vi.waitFor(async () => expect(await running(fixture.roles.system)).toBe(0))
    },
  )
})

describe('COPY FROM by query', () => {
  it.each([['auto'], ['transaction']] as const)(
    'fails and leaves the pool in order, in protocol %s',
    async (protocol) => {
      await fixture.asOwner('create table if not exists plain (id int)')
      const pool = fixture.pool({ protocol, check: false }, { max: 1, connectionString: fixture.ownerUrl })
      await expect(pool.query('copy plain from stdin')).rejects.toBeDefined()
      expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
      await pool.end()
    },
  )
})
