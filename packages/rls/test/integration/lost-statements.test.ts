import fc from 'fast-check'
import type { PoolClient } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runWithRlsContext, type RlsPool } from '../../src/index.ts'
import { contextA, contextB, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
})
afterAll(() => fixture.drop())

type Fault = (client: PoolClient) => Promise<unknown>

const unsendable = {
  toPostgres(): never {
    throw new Error('cannot be sent')
  },
}

/** Statements that fail before they leave, on their way, or at the server. */
const faults: Readonly<Record<string, Fault>> = {
  'values that are no array': (client) => client.query('select $1::int', 'x' as never),
  'a value that cannot be sent': (client) => client.query('select $1::text', [unsendable]),
  'a name that has another text': async (client) => {
    await client.query({ name: 'named', text: 'select 1' })
    return client.query({ name: 'named', text: 'select 2' })
  },
  'a time limit that ends in the queue of the driver': async (client) => {
    const busy = client.query('select pg_sleep(0.05)')
    const late = client.query({ text: 'select 1', query_timeout: 5 } as { text: string })
    await Promise.allSettled([busy, late])
    return late
  },
  'a time limit that ends at the server': (client) =>
    client.query({ text: 'select pg_sleep(0.05)', query_timeout: 5 } as { text: string }),
  'text that does not parse': (client) => client.query('selec 1'),
  'a value that the server refuses': (client) => client.query('select $1::int', ['x']),
  'a statement that fails as it runs': (client) => client.query('select 1 / 0'),
}

const titles = async (client: Pick<PoolClient, 'query'>): Promise<string> => {
  try {
    const { rows } = await client.query<{ title: string }>('select title from notes order by title')
    return rows.map(({ title }) => title).join(' ')
  } catch (error) {
    return String((error as { code?: string }).code)
  }
}

const tenants = { a: contextA, b: contextB } as const

describe.each([['auto'], ['transaction']] as const)(
  'a statement that is lost beside protocol %s',
  (protocol) => {
    let pool: RlsPool
    beforeAll(() => {
      pool = fixture.pool({ protocol }, { max: 2 })
    })
    afterAll(() => pool.end())

    const withClient = async (run: (client: PoolClient) => Promise<void>): Promise<void> => {
      const client = await pool.connect()
      try {
        await run(client)
      } finally {
        client.release(true)
      }
    }

    it.each(Object.entries(faults))('does not pass its context on: %s', async (_, fault) => {
      await withClient(async (client) => {
        await runWithRlsContext(contextA, () => client.query('begin'))
        expect(await runWithRlsContext(contextA, () => titles(client))).toBe('a1 a2')
        await runWithRlsContext(contextB, async () => {
          await fault(client).catch(() => undefined)
          expect(['b1 b2', '25P02']).toContain(await titles(client))
        })
      })
    })

    it.each(Object.entries(faults))('does not take BEGIN along: %s', async (_, fault) => {
      await withClient(async (client) => {
        await runWithRlsContext(contextA, async () => {
          await client.query('begin')
          await fault(client).catch(() => undefined)
          await client
            .query("insert into notes (tenant_id, title) values ($1, 'lost')", [contextA.tenantId])
            .catch(() => undefined)
          await client.query('rollback')
          expect(await titles(client)).toBe('a1 a2')
        })
      })
    })

    it('ends a transaction whose every statement was lost', async () => {
      await withClient(async (client) => {
        await runWithRlsContext(contextA, async () => {
          await client.query('begin')
          await faults['values that are no array']?.(client).catch(() => undefined)
          expect((await client.query('commit')).command).toBe('COMMIT')
          expect(await titles(client)).toBe('a1 a2')
        })
      })
    })

    it('keeps the order of statements that were not waited for', async () => {
      await withClient(async (client) => {
        await runWithRlsContext(contextA, async () => {
          await Promise.all([
            client.query('select 1'),
            client.query('begin'),
            client.query("insert into notes (tenant_id, title) values ($1, 'kept')", [contextA.tenantId]),
            client.query('commit'),
            client.query('begin'),
            client.query("delete from notes where title = 'a1'"),
            client.query('rollback'),
          ])
          expect(await titles(client)).toBe('a1 a2 kept')
          await client.query("delete from notes where title = 'kept'")
        })
      })
    })

    it('changes nothing for the others, in any order', { timeout: 60_000 }, async () => {
      const step = fc.record({
        as: fc.constantFrom('a' as const, 'b' as const),
        fault: fc.option(fc.constantFrom(...Object.keys(faults))),
        savepoint: fc.boolean(),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
          await withClient(async (client) => {
            await client.query('begin')
            for (const { as, fault, savepoint } of steps) {
              await runWithRlsContext(tenants[as], async () => {
                if (savepoint) await client.query('savepoint s').catch(() => undefined)
                if (fault) await faults[fault]?.(client).catch(() => undefined)
                if (savepoint) await client.query('rollback to savepoint s').catch(() => undefined)
                expect([`${as}1 ${as}2`, '25P02']).toContain(await titles(client))
                await client
                  .query("insert into notes (tenant_id, title) values ($1, 'lost')", [tenants[as].tenantId])
                  .then(() => client.query("delete from notes where title = 'lost'"))
                  .catch(() => undefined)
              })
            }
            await client.query('rollback')
            for (const as of ['a', 'b'] as const) {
              expect(await runWithRlsContext(tenants[as], () => titles(client))).toBe(`${as}1 ${as}2`)
            }
          })
        }),
        { numRuns: 40 },
      )
    })
  },
)

describe('a transaction', () => {
  it('takes its isolation level from its first statement', async () => {
    const pool = fixture.pool({}, { max: 1 })
    await runWithRlsContext(contextA, async () => {
      const client = await pool.connect()
      await client.query('begin')
      await client.query('set transaction isolation level serializable')
      expect((await client.query('show transaction_isolation')).rows).toEqual([
        { transaction_isolation: 'serializable' },
      ])
      expect(await titles(client)).toBe('a1 a2')
      await client.query('commit')
      client.release()
    })
    await pool.end()
  })
})

describe('a prepared statement', () => {
  it('takes the new types of its parameters', async () => {
    await fixture.asOwner(
      "create type mood as enum ('glad')",
      'create table typed (tenant_id uuid not null, n int, mood mood)',
      `grant select, insert on typed to ${fixture.roles.tenant}`,
      'alter table typed enable row level security, force row level security',
      'create policy own on typed using (true)',
    )
    const pool = fixture.pool({ check: false }, { max: 1 })
    await runWithRlsContext(contextA, async () => {
      const insert = (n: unknown, mood: string) =>
        pool.query('insert into typed (tenant_id, n, mood) values ($1, $2, $3)', [contextA.tenantId, n, mood])
      await insert(1, 'glad')
      await insert(1, 'glad')
      await fixture.asOwner(
        'alter table typed alter column n type bigint',
        'alter table typed alter column mood type text',
      )
      expect((await insert('5000000000', 'glad')).rowCount).toBe(1)
      expect((await insert(1, 'sad')).rowCount).toBe(1)
      await expect(insert('many', 'sad')).rejects.toMatchObject({ code: '22P02' })
      expect((await insert(2, 'sad')).rowCount).toBe(1)
    })
    await pool.end()
    await fixture.asOwner('drop table typed')
  })
})
