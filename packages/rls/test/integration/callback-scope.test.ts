import { AsyncLocalStorage } from 'node:async_hooks'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import { Query, type PoolClient } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asSystem, currentRlsContext, runWithRlsContext, type RlsPool } from '../../src/index.ts'
import { contextA, contextB, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
})
afterAll(() => fixture.drop())

/** Stands for any other store of the app: the current invocation, the logger's context, a trace. */
const other = new AsyncLocalStorage<string>()

const within = <Result>(context: { readonly tenantId: string }, run: () => Result): Result =>
  other.run(context.tenantId, () => runWithRlsContext(context, run))

/** Where a callback runs: the tenant of the context, and what the other store says. */
const here = (): string => `${currentRlsContext()?.tenantId}/${other.getStore()}`
const inA = `${contextA.tenantId}/${contextA.tenantId}`

type Form = (pool: RlsPool, ran: () => void) => void | Promise<void>

/** Hands a client to the form, and gives it back when the form calls `done`. */
const withClient =
  (run: (client: PoolClient, ran: () => void, done: () => void) => void): Form =>
  async (pool, ran) => {
    const client = await pool.connect()
    await new Promise<void>((resolve) => {
      run(client, ran, resolve)
    })
    client.release()
  }

/** The forms of a cursor that its types do not know. */
interface CallbackCursor extends NodeJS.EventEmitter {
  read(rows: number, callback: () => void): void
  close(callback: () => void): void
}

const openCursor = (client: PoolClient, text: string): CallbackCursor =>
  client.query(new Cursor(text)) as unknown as CallbackCursor

const forms: Record<string, Form> = {
  'pool.query(text, callback)': (pool, ran) =>
    new Promise((resolve) => {
      pool.query('select 1', () => (ran(), resolve()))
    }),
  'pool.query(text, values, callback)': (pool, ran) =>
    new Promise((resolve) => {
      pool.query('select $1::int', [1], () => (ran(), resolve()))
    }),
  'pool.query of a failing statement': (pool, ran) =>
    new Promise((resolve) => {
      pool.query('select 1 / 0', () => (ran(), resolve()))
    }),
  'pool.connect(callback)': (pool, ran) =>
    new Promise((resolve) => {
      pool.connect((_error, _client, done) => (ran(), done(), resolve()))
    }),
  'pool.withContext(context).query(text, callback)': (pool, ran) =>
    new Promise((resolve) => {
      pool.withContext(contextB).query('select 1', () => (ran(), resolve()))
    }),
  'pool.withContext(context).connect(callback)': (pool, ran) =>
    new Promise((resolve) => {
      pool.withContext(contextB).connect((_error, _client, done) => (ran(), done(), resolve()))
    }),
  'client.query(text, callback)': withClient((client, ran, done) => {
    client.query('select 1', () => (ran(), done()))
  }),
  'client.query({ text, callback })': withClient((client, ran, done) => {
    void client.query({ text: 'select 1', callback: () => (ran(), done()) } as { text: string })
  }),
  'client.query(text, values, callback)': withClient((client, ran, done) => {
    client.query('select $1::int', [1], () => (ran(), done()))
  }),
  'the callback and events of a Query object': withClient((client, ran, done) => {
    const query = new Query('select 1')
    query.on('row', ran)
    query.on('end', () => (ran(), done()))
    client.query(query)
  }),
  'client.query(Query, callback)': withClient((client, ran, done) => {
    ;(client.query as (query: object, callback: () => void) => void)(
      new Query('select 1'),
      () => (ran(), done()),
    )
  }),
  'cursor.read(n, callback)': withClient((client, ran, done) => {
    const cursor = openCursor(client, 'select generate_series(1, 3)')
    cursor.on('row', ran)
    cursor.read(1, () => {
      ran()
      cursor.read(5, () => {
        ran()
        cursor.close(() => (ran(), done()))
      })
    })
  }),
  'cursor.close(callback)': withClient((client, ran, done) => {
    const cursor = openCursor(client, 'select generate_series(1, 3)')
    cursor.read(1, () => {
      cursor.close(() => (ran(), done()))
    })
  }),
  'the error of a cursor': withClient((client, ran, done) => {
    const cursor = openCursor(client, 'select 1 / 0')
    cursor.on('error', ran)
    cursor.read(1, () => (ran(), done()))
  }),
  'the events of COPY TO': withClient((client, ran, done) => {
    const stream = copyTo('copy (select generate_series(1, 3)) to stdout')
    stream.on('data', ran)
    client.query(stream)
    stream.on('end', ran)
    stream.on('close', () => (ran(), done()))
  }),
  'the events and callbacks of COPY FROM': withClient((client, ran, done) => {
    const stream = client.query(copyFrom('copy notes (tenant_id, title) from stdin'))
    stream.on('error', () => (ran(), done()))
    ;(stream as NodeJS.WritableStream).write('x', ran)
    stream.end(ran)
  }),
  notices: withClient((client, ran, done) => {
    client.once('notice', () => (ran(), done()))
    void client.query("do $$ begin raise notice 'told' ; end $$")
  }),
  notifications: withClient((client, ran, done) => {
    client.on('notification', () => (ran(), done()))
    void client.query('listen told').then(() => fixture.asAdmin('notify told'))
  }),
  'errors and the end of a connection': withClient((client, ran, done) => {
    client.prependListener('error', ran)
    client.addListener('end', () => (ran(), done()))
    client.query('select pg_sleep(30)', () => ran())
    const { processID } = client as unknown as { processID: number }
    void fixture.asAdmin('select pg_terminate_backend($1)', [processID])
  }),
  'client.end(callback)': withClient((client, ran, done) => {
    ;(client as unknown as { end(callback: () => void): void }).end(() => (ran(), done()))
  }),
}

describe.each([['auto'], ['transaction']] as const)('callbacks beside protocol %s', (protocol) => {
  describe.each([
    [
      'opened by another tenant',
      async (pool: RlsPool) => void (await within(contextB, () => pool.query('select 1'))),
    ],
    ['opened by themselves', async () => undefined],
  ])('on a connection %s', (_, open) => {
    it.each(Object.entries(forms))('%s run in the scope of their caller', async (_name, form) => {
      const pool = fixture.pool({ protocol }, { max: 1 })
      await open(pool)
      const seen: string[] = []
      await within(contextA, () => form(pool, () => seen.push(here())))
      expect(seen.length).toBeGreaterThan(0)
      expect(new Set(seen)).toEqual(new Set([inA]))
      await pool.end()
    })
  })

  it('run in the scope of their caller when the pool was exhausted', async () => {
    const pool = fixture.pool({ protocol }, { max: 1 })
    const held = await within(contextB, () => pool.connect())
    const seen: string[] = []
    const waiting = within(
      contextA,
      () =>
        new Promise<void>((resolve) => {
          pool.connect((_error, client, done) => {
            seen.push(here())
            client?.query('select title from notes order by 1', (_failure, { rows }) => {
              seen.push(here(), ...rows.map(({ title }: { title: string }) => title))
              done()
              resolve()
            })
          })
        }),
    )
    within(contextB, () => held.release(true))
    await waiting
    expect(seen).toEqual([inA, inA, 'a1', 'a2'])
    await new Promise<void>((resolve) => {
      within(contextA, () => pool.end(() => (seen.push(here()), resolve())))
    })
    expect(seen.at(-1)).toBe(inA)
  })
})

describe('a connection', () => {
  it('is opened and handed on outside of every scope, also by the check, a release and the system pool', async () => {
    const opened: string[] = []
    const note = () => opened.push(here())
    const pgPool = fixture.pgPool({ max: 1 })
    const systemPool = fixture.pgPool({ connectionString: fixture.systemUrl, max: 1 })
    for (const pool of [pgPool, systemPool]) {
      pool.on('connect', (client) => {
        note()
        ;(client as unknown as { connection: { stream: NodeJS.EventEmitter } }).connection.stream.on(
          'data',
          note,
        )
      })
      pool.on('acquire', note).on('release', note).on('remove', note)
    }
    const { createRlsPool } = await import('../../src/index.ts')
    const pool = createRlsPool(pgPool, { role: fixture.roles.tenant, system: systemPool })
    await within(contextB, async () => {
      await pool.query('select 1')
      const client = await pool.connect()
      const waiting = within(contextA, () => pool.query('select 1'))
      client.release(true)
      await waiting
      await asSystem('count', () => pool.query('select 1'))
      await pool.end()
    })
    expect(opened.length).toBeGreaterThan(10)
    expect(new Set(opened)).toEqual(new Set(['undefined/undefined']))
  })
})

describe('a released client', () => {
  it('hears nothing of the next holder, and leaves no listener', async () => {
    const pool = fixture.pool({}, { max: 1 })
    const heard: string[] = []
    const raise = "do $$ begin raise notice 'told' ; end $$"
    const counts: number[] = []
    for (const context of [contextA, contextB, contextA]) {
      await within(context, async () => {
        const client = await pool.connect()
        client.on('notice', () => heard.push(context.tenantId)).on('error', () => undefined)
        client.once('end', () => undefined)
        await client.query(raise)
        client.off('notice', () => undefined)
        client.release()
        counts.push(
          client.listenerCount('notice') + client.listenerCount('error') + client.listenerCount('end'),
        )
      })
    }
    expect(heard).toEqual([contextA.tenantId, contextB.tenantId, contextA.tenantId])
    expect(new Set(counts).size).toBe(1)
    await pool.end()
  })

  it('does no further work, and cannot be released twice', async () => {
    const pool = fixture.pool({}, { max: 1 })
    await within(contextA, async () => {
      const client = await pool.connect()
      const late = client.query('select pg_sleep(0.05)')
      client.release()
      expect(() => client.release()).toThrow(/already been released/)
      await expect(client.query('select 1')).rejects.toThrow(/was released/)
      await late
      const [first, second] = [pool.connect(), pool.connect()]
      const next = await first
      expect(() => client.release()).toThrow(/already been released/)
      await expect(client.query('select 1')).rejects.toThrow(/was released/)
      expect(pool.waitingCount).toBe(1)
      next.release()
      ;(await second).release()
    })
    await pool.end()
  })

  it('is the only way to its connection: chained calls lead to no other', async () => {
    const pool = fixture.pool({}, { max: 1 })
    await within(contextA, async () => {
      const client = await pool.connect()
      expect(client.on('notice', () => undefined)).toBe(client)
      expect(client.setMaxListeners(20)).toBe(client)
      client.release()
    })
    await pool.end()
  })
})
