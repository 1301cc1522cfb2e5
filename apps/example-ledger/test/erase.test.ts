import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { exportParts } from '@quintet/example-platform/events'
import { requestExport, startApp, tellRemoval } from '@quintet/example-platform/testing'
import { until } from '@quintet/test-kit'
import { expect, it } from 'vitest'
import system from '../src/bootstrap.ts'
import { reconcile } from '../src/reconciliation.ts'
import { openLedger } from './ledger-fixture.ts'

it('erases the books of a tenant that is removed, and of no other', async () => {
  await using ledger = await openLedger()
  await using app = await startApp(system, {
    baseUrl: resolve(import.meta.dirname, '../src'),
    process: 'settlement',
    database: ledger.database,
  })
  const [owner, other] = [ledger.member(randomUUID(), 'owner'), ledger.member(randomUUID(), 'owner')]
  for (const each of [owner, other]) {
    const account = await each.open()
    const { id } = await each.post({ kind: 'fund', to: account, amount: '5' })
    await each.post({ kind: 'reversal', reverses: id })
  }
  const left = async (): Promise<readonly string[]> => {
    const { rows } = await ledger.database.systemPool.query<{ tenant_id: string }>(
      `select tenant_id from accounts union select tenant_id from transfers union select tenant_id from entries`,
    )
    return rows.map((row) => row.tenant_id)
  }
  expect(await left()).toHaveLength(2)
  // Before that, they get what is kept of them.
  await requestExport(app.jobs, 'ledger', { tenantId: owner.tenantId, userId: owner.userId })
  const parts = (): Promise<readonly { readonly data: unknown }[]> =>
    app.jobs.bull(exportParts).getJobs(['wait'])
  await until(async () => (await parts()).length === 2)
  const payloads = (await parts()).map(({ data }) => (data as { payload: { part: number } }).payload)
  expect(payloads.toSorted((a, b) => a.part - b.part)).toMatchObject([
    { app: 'ledger', last: false, rows: [{ amount: '5.00' }, { amount: '-5.00' }] },
    { app: 'ledger', last: true, rows: [] },
  ])
  await tellRemoval(app.jobs, 'ledger', { tenantId: owner.tenantId, userId: owner.userId })
  await tellRemoval(app.jobs, 'ledger', { tenantId: owner.tenantId })
  await until(async () => (await left()).length === 1)
  expect(await left()).toEqual([other.tenantId])
  expect(await reconcile(ledger.db)).toEqual([])
})
