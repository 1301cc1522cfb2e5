import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { exportParts } from '@quintet/example-platform/events'
import { requestExport, startApp, tellRemoval } from '@quintet/example-platform/testing'
import type { ErasureSubject, Queue } from '@quintet/queue'
import { until } from '@quintet/test-kit'
import { Client } from 'pg'
import { expect, it } from 'vitest'
import system from '../src/bootstrap.ts'
import { reconcile } from '../src/reconciliation.ts'
import { openLedger, type Member } from './ledger-fixture.ts'

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
  await owner.open('USD')
  await owner.post({ kind: 'fund', to: await owner.open(), amount: '20000' })
  expect(await exported(app.jobs, owner)).toMatchObject([
    ...['EUR', 'USD', 'EUR'].map((currency) => ({ kind: 'account', currency, balance: '0.00' })),
    { kind: 'fund', amount: '5.00', status: 'posted' },
    { kind: 'reversal', amount: '5.00' },
    { kind: 'fund', amount: '20000.00', status: 'awaiting', askedBy: owner.userId },
    { kind: 'entry', amount: '5.00' },
    { kind: 'entry', amount: '-5.00' },
  ])
  expect(await exported(app.jobs, { tenantId: owner.tenantId })).toContainEqual(
    expect.objectContaining({ kind: 'account', owner: null }),
  )
  expect(await exported(app.jobs, { tenantId: owner.tenantId, userId: other.userId })).toEqual([])
  await tellRemoval(app.jobs, 'ledger', { tenantId: owner.tenantId })
  await until(async () => (await left()).length === 1)
  expect(await left()).toEqual([other.tenantId])
  expect(await reconcile(ledger.db)).toEqual([])
})

it('erases books of any size, part by part, and finds nothing wrong with those that are half erased', async () => {
  await using ledger = await openLedger()
  const owner = ledger.member(randomUUID(), 'owner')
  const [from, to] = [await owner.open(), await owner.open()]
  await using admin = await connect(ledger.database.ownerUrl)
  await makeTransfers(admin.client, owner, { from, to, count: 6_000 })
  const { id } = await owner.post({ kind: 'fund', to: from, amount: '5' })
  await owner.post({ kind: 'reversal', reverses: id })
  expect(await reconcile(ledger.db)).toEqual([])
  const count = async (): Promise<readonly number[]> => {
    const { rows } = await ledger.database.systemPool.query<{ n: number }>(
      `select count(*)::int as n from entries union all select count(*)::int from transfers
       union all select count(*)::int from accounts`,
    )
    return rows.map(({ n }) => n)
  }
  expect(await count()).toEqual([12_004, 6_002, 3])
  const part = await ledger.database.systemPool.query(`select erase_tenant($1, 5000) as gone`, [
    owner.tenantId,
  ])
  expect([part.rows, await count()]).toEqual([[{ gone: 5_000 }], [7_004, 6_002, 3]])
  expect(await reconcile(ledger.db)).toEqual([])
  await using app = await startApp(system, {
    baseUrl: resolve(import.meta.dirname, '../src'),
    process: 'settlement',
    database: ledger.database,
  })
  await tellRemoval(app.jobs, 'ledger', { tenantId: owner.tenantId })
  await until(async () => (await count()).every((each) => each === 0), 30_000)
}, 60_000)

/** All that the ledger hands over, part after part. */
async function exported(jobs: Queue, { tenantId, userId }: ErasureSubject): Promise<readonly unknown[]> {
  const rows: unknown[] = []
  for (let [part, after] = [0, null as string | null]; part === 0 || after !== null; part++) {
    const before = new Set((await jobs.bull(exportParts).getJobs(['prioritized'])).map(({ id }) => id))
    const subject = { tenantId, ...(userId !== undefined && { userId }) }
    await requestExport(jobs, 'ledger', subject, undefined, { part, after })
    const payload = await until(async () => {
      const made = await jobs.bull(exportParts).getJobs(['prioritized'])
      const job = made.find(({ id }) => !before.has(id))
      return (job?.data as { payload: { next: string | null; rows: unknown[] } } | undefined)?.payload
    })
    rows.push(...payload.rows)
    after = payload.next
  }
  return rows
}

/** Transfers as if they had been posted, made by the owner of the tables. */
async function makeTransfers(
  owner: Client,
  { tenantId, userId }: Member,
  { from, to, count }: { readonly from: string; readonly to: string; readonly count: number },
): Promise<void> {
  await owner.query(
    `with made as (
       insert into transfers (tenant_id, idempotency_key, kind, from_account, to_account, amount, currency, created_by, status)
       select $1, 'key-' || i, 'transfer', case when i % 2 = 1 then $3::uuid else $4::uuid end,
         case when i % 2 = 1 then $4::uuid else $3::uuid end, 1, 'EUR', $2, 'settled' from generate_series(1, $5) as i
       returning id, idempotency_key, from_account, to_account)
     insert into entries (tenant_id, transfer_id, account_id, amount, balance_after)
     select $1, id, account, amount, case when account = $3 and amount < 0 then -1 when account = $4 and amount > 0 then 1 else 0 end
     from made, lateral (values (from_account, -1), (to_account, 1)) as side (account, amount)
     order by substr(idempotency_key, 5)::int`,
    [tenantId, userId, from, to, count],
  )
}

async function connect(connectionString: string): Promise<AsyncDisposable & { readonly client: Client }> {
  const client = new Client({ connectionString })
  await client.connect()
  return { client, [Symbol.asyncDispose]: () => client.end() }
}
