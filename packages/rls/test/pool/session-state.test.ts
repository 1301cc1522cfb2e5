import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runWithRlsContext, type RlsPool } from '../../src/index.ts'
import { contextA, contextB, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
  const { tenant } = fixture.roles
  await fixture.asOwner(
    `create function leave_setting() returns text language sql as $$ select set_config('my.flag', 'a', false) $$`,
    `create function leave_lock() returns void language sql as $$ select pg_advisory_lock(42) $$`,
    `create function leave_cursor() returns void language plpgsql as
       $$ begin execute 'declare left_over cursor ' || 'with ' || 'hold for select title from notes'; end $$`,
    `create function leave_channel() returns void language plpgsql as $$ begin execute 'lis' || 'ten news'; end $$`,
    `create function become(tenant text) returns text language sql as $$ select set_config('app.tenant_id', tenant, true) $$`,
    `create sequence numbers`,
    `grant usage on sequence numbers to ${tenant}`,
    `grant execute on all functions in schema public to ${tenant}`,
  )
})
afterAll(() => fixture.drop())

/** What one tenant can leave in its session by means that the text of the statement does not show, and how it is seen. */
const states: Readonly<Record<string, readonly [leave: string, see: string, seen: unknown]>> = {
  'a setting': ['select leave_setting()', `select current_setting('my.flag', true) as seen`, ['', null]],
  'an advisory lock': [
    'select leave_lock()',
    `select count(*)::int as seen from pg_locks where locktype = 'advisory' and objid = 42`,
    [0],
  ],
  'a cursor WITH HOLD': [
    'select leave_cursor()',
    'select count(*)::int as seen from pg_cursors where is_holdable',
    [0],
  ],
}

describe.each([['auto'], ['transaction']] as const)('the state of a session, in protocol %s', (protocol) => {
  let pool: RlsPool
  beforeAll(() => {
    pool = fixture.pool({ protocol }, { max: 1 })
  })
  afterAll(() => pool.end())

  const see = async (text: string): Promise<unknown> =>
    (await pool.query<{ seen: unknown }>(text)).rows[0]?.seen

  it.each(Object.entries(states))('does not reach the next tenant: %s', async (_, [leave, look, none]) => {
    await runWithRlsContext(contextA, () => pool.query(leave))
    expect(none).toContain(await runWithRlsContext(contextB, () => see(look)))
    expect(none).toContain(await runWithRlsContext(contextA, () => see(look)))
  })

  it.each(Object.entries(states))(
    'does not reach it in a transaction that it rolls back: %s',
    async (_, [leave, look, none]) => {
      await runWithRlsContext(contextA, () => pool.query(leave))
      await runWithRlsContext(contextB, async () => {
        const client = await pool.connect()
        await client.query('begin isolation level serializable')
        expect(none).toContain((await client.query<{ seen: unknown }>(look)).rows[0]?.seen)
        await client.query('rollback')
        client.release()
        expect(none).toContain(await see(look))
      })
    },
  )

  it('does not reach the next tenant: a channel', async () => {
    const channels = 'select count(*)::int as seen from pg_listening_channels()'
    await runWithRlsContext(contextA, () => pool.query('select leave_channel()'))
    expect(await runWithRlsContext(contextA, () => see(channels))).toBe(1)
    // It ends with the first statement of the other tenant.
    await runWithRlsContext(contextB, () => pool.query('select 1'))
    expect(await runWithRlsContext(contextB, () => see(channels))).toBe(0)
  })

  it('does not tell the next tenant the last number of a sequence', async () => {
    await runWithRlsContext(contextA, () => pool.query(`select nextval('numbers')`))
    await expect(runWithRlsContext(contextB, () => pool.query('select lastval()'))).rejects.toMatchObject({
      code: '55000',
    })
  })

  it('does not reach another user of the same tenant', async () => {
    await runWithRlsContext(contextA, () => pool.query('select leave_setting()'))
    const flag = await runWithRlsContext({ ...contextA, userId: contextB.userId }, () =>
      see(`select current_setting('my.flag', true) as seen`),
    )
    expect(['', null]).toContain(flag)
  })

  it('is not the context of the next statement of a transaction', async () => {
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      await client.query('begin')
      await client.query('select become($1)', [contextB.tenantId])
      const { rows } = await client.query<{ title: string }>('select title from notes order by title')
      await client.query('rollback')
      client.release()
      expect(rows.map(({ title }) => title)).toEqual(['a1', 'a2'])
    })
  })

  it('stays for the statements of the same tenant', async () => {
    await runWithRlsContext(contextA, async () => {
      await pool.query('select leave_setting()')
      expect(await see(`select current_setting('my.flag', true) as seen`)).toBe('a')
    })
  })
})

describe('the state of a session whose statements are pipelined', () => {
  const [, look, none] = states['a setting']!

  it('does not reach a statement that is written while those of others are on their way', async () => {
    const pool = fixture.pool({}, { max: 1, pipeline: true } as never)
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      const asB = (text: string) => runWithRlsContext(contextB, () => client.query<{ seen: unknown }>(text))
      const first = asB('select 1')
      const left = client.query('select leave_setting() from pg_sleep(0.2)')
      await first
      expect(none).toContain((await asB(look)).rows[0]?.seen)
      await left
      await client.query('begin')
      await client.query('select leave_setting()')
      const committed = client.query('commit')
      expect(none).toContain((await asB(look)).rows[0]?.seen)
      await committed
      client.release()
    })
    await pool.end()
  })
})
