import { Kysely, PostgresDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runWithRlsContext, tenantPolicy } from '../../src/index.ts'
import { checkRoles } from '../../src/migrations.ts'
import { lintCatalogue } from '../../src/catalogue.ts'
import { formatAttackMatrix, runAttackMatrix } from '../../src/testing.ts'
import { installedServers, startInstalledServer } from '../fixtures/installed-server.ts'
import { fillForTorture, tortureTwoConnections } from '../fixtures/torture.ts'
import { contextA, contextB, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

const servers = installedServers()
const none = [{ major: '(none is installed)', programs: '' }]

describe.skipIf(servers.length === 0).each(servers.length === 0 ? none : servers)(
  'PostgreSQL $major, as the machine has it beside the server of this run',
  ({ programs }) => {
    const stack = new AsyncDisposableStack()
    let fixture: TwoTenants

    beforeAll(async () => {
      const server = stack.use(await startInstalledServer(programs))
      fixture = stack.use(await createTwoTenants(server.url))
    })
    afterAll(() => stack.disposeAsync())

    it('passes the check and the lint', async () => {
      expect(await checkRoles(fixture.pgPool(), { role: fixture.roles.tenant })).toEqual([])
      const connection = await fixture.pgPool().connect()
      expect(await lintCatalogue(connection, { tenantRoles: [fixture.roles.tenant] })).toEqual([])
      connection.release()
    })

    it('withstands the attack matrix', async () => {
      const report = await runAttackMatrix({ pool: fixture.pool(), policies: [tenantPolicy('notes')] })
      expect(report.failures, formatAttackMatrix(report)).toEqual([])
    })

    it('follows nested contexts in a transaction', async () => {
      const db = new Kysely<{ notes: { title: string } }>({
        dialect: new PostgresDialect({ pool: fixture.pool() }),
      })
      const counts = await runWithRlsContext(contextA, () =>
        db.transaction().execute(async (trx) => {
          const read = async () =>
            (await trx.selectFrom('notes').select('title').execute()).map(({ title }) => title[0])
          return [...(await read()), ...(await runWithRlsContext(contextB, read)), ...(await read())].join('')
        }),
      )
      expect(counts).toBe('aabbaa')
    })

    it('leaks nothing in 10,000 disturbed statements', { timeout: 60_000 }, async () => {
      await fillForTorture(fixture)
      const { right, wrong } = await tortureTwoConnections(fixture, 10_000, {}, {})
      expect(wrong).toBe(0)
      expect(right).toBeGreaterThan(7_000)
    })
  },
)
