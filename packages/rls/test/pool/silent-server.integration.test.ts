import { Secret, silentLogger } from '@quintet/core'
import { createHealthChecks, createLifecycle } from '@quintet/core/kit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRlsPool, runWithRlsContext } from '../../src/index.ts'
import { openDatabase } from '../../src/app.ts'
import { startSilentProxy } from '../fixtures/silent-proxy.ts'
import { callAsTenantA } from '../fixtures/call.ts'
import { contextA, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
})
afterAll(() => fixture.drop())

// Each test waits for time limits, with a proxy and a pool of its own.
describe.concurrent('connections that were lost without a word', () => {
  it.each([['auto'], ['transaction']] as const)(
    'work again after the read timeout, and end, in protocol %s',
    { timeout: 30_000 },
    async (protocol) => {
      await using proxy = await startSilentProxy(fixture.url)
      const pool = fixture.pool(
        { protocol },
        { connectionString: proxy.through(fixture.url), max: 1, query_timeout: 500 },
      )
      const titles = () => runWithRlsContext(contextA, () => pool.query('select title from notes'))
      expect((await titles()).rowCount).toBe(2)
      proxy.fallSilent()
      await expect(titles()).rejects.toThrow('Query read timeout')
      expect((await titles()).rowCount).toBe(2)

      const client = await runWithRlsContext(contextA, () => pool.connect())
      proxy.fallSilent()
      await expect(runWithRlsContext(contextA, () => client.query('select 1'))).rejects.toThrow(
        'Query read timeout',
      )
      client.release()
      expect((await titles()).rowCount).toBe(2)
      await pool.end()
    },
  )

  it(
    'fail the role check within its time, and the next statement asks again',
    { timeout: 30_000 },
    async () => {
      await using proxy = await startSilentProxy(fixture.url)
      const raw = fixture.pgPool({ connectionString: proxy.through(fixture.url), max: 1 })
      await raw.query('select 1')
      const pool = createRlsPool(raw, { role: fixture.roles.tenant })
      proxy.fallSilent()
      const titles = () => runWithRlsContext(contextA, () => pool.query('select title from notes'))
      await expect(titles()).rejects.toMatchObject({ code: 'ERR_RLS_DATABASE_UNAVAILABLE' })
      expect((await titles()).rowCount).toBe(2)
    },
  )

  it(
    'give aborted calls of openDatabase their reason at once, serve the next ones, and end',
    { timeout: 60_000 },
    async () => {
      await using proxy = await startSilentProxy(fixture.url)
      const lifecycle = createLifecycle({ logger: silentLogger })
      const config = {
        database: {
          url: new Secret(proxy.through(fixture.url)),
          systemUrl: new Secret(proxy.through(fixture.systemUrl)),
        },
      }
      const { pool, systemPool } = openDatabase(
        { config, logger: silentLogger, lifecycle, health: createHealthChecks() },
        { connections: 1, tenantConnections: 1, statementTimeout: '1s', connectionTimeout: '20s' },
      )
      expect(systemPool.options).toMatchObject({ keepAlive: true, query_timeout: 6_000 })
      const read = () => pool.query('select title from notes')
      await runWithRlsContext(contextA, read)
      proxy.fallSilent()

      const caller = new AbortController()
      const started = performance.now()
      const aborted = callAsTenantA(caller.signal, () => {
        const reading = read()
        setImmediate(() => caller.abort())
        return reading
      })
      await expect(aborted).rejects.toMatchObject({ code: 'ERR_CORE_CANCELED' })
      expect(performance.now() - started).toBeLessThan(4_000)
      expect((await runWithRlsContext(contextA, read)).rowCount).toBe(2)

      proxy.fallSilent()
      await expect(runWithRlsContext(contextA, read)).rejects.toThrow('Query read timeout')
      expect((await runWithRlsContext(contextA, read)).rowCount).toBe(2)
      await lifecycle.close()
    },
  )
})
