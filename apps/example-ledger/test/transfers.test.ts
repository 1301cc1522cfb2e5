import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { openAppDatabase, type AppDatabase } from '@quintet/example-platform/testing'
import { createLeases } from '@quintet/queue'
import { runWithRlsContext } from '@quintet/rls'
import { postgresUrl } from '@quintet/test-kit'
import { Kysely, PostgresDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listAccounts, openAccount } from '../src/accounts.ts'
import type { LedgerTables } from '../src/schema.ts'
import { settle } from '../src/settlement.ts'
import { listEntries, postTransfer, type Order, type Transfer } from '../src/transfers.ts'

let database: AppDatabase
let db: Kysely<LedgerTables>

beforeAll(async () => {
  database = await openAppDatabase(postgresUrl(), resolve(import.meta.dirname, '../src/migrations'))
  db = new Kysely({ dialect: new PostgresDialect({ pool: database.pool }) })
})

afterAll(async () => {
  await database[Symbol.asyncDispose]()
})

interface Tenant {
  readonly tenantId: string
  readonly userId: string
  readonly from: string
  readonly to: string
  post(order: Partial<Order>): Promise<Transfer>
  balances(): Promise<readonly string[]>
}

/** A tenant with two accounts, of which the first holds this much. */
async function tenantWith(balance: bigint): Promise<Tenant> {
  const [tenantId, userId] = [randomUUID(), randomUUID()]
  const as = <T>(run: () => Promise<T>): Promise<T> => runWithRlsContext({ tenantId, userId }, run)
  const open = (): Promise<string> =>
    as(async () => (await openAccount(db, { tenantId, ownerId: userId, currency: 'EUR' })).id)
  const [from, to] = [await open(), await open()]
  const post: Tenant['post'] = (order) =>
    as(() =>
      postTransfer(
        db,
        {
          tenantId,
          userId,
          onBehalf: false,
          idempotencyKey: randomUUID(),
          kind: 'transfer',
          from,
          to,
          amount: 1n,
          ...order,
        },
        async () => {},
      ),
    )
  if (balance > 0n) await post({ kind: 'fund', from: undefined, to: from, amount: balance })
  const balances: Tenant['balances'] = async () => {
    const accounts = await as(() => listAccounts(db))
    return [from, to].map((id) => accounts.find((account) => account.id === id)?.balance ?? 'missing')
  }
  return { tenantId, userId, from, to, post, balances }
}

describe('postTransfer', () => {
  it('counts one key once, however many calls bring it at the same time', async () => {
    const tenant = await tenantWith(100n)
    const idempotencyKey = randomUUID()
    const transfers = await Promise.all(
      Array.from({ length: 20 }, () => tenant.post({ idempotencyKey, amount: 30n })),
    )
    expect(new Set(transfers.map(({ id }) => id)).size).toBe(1)
    expect(await tenant.balances()).toEqual(['70', '30'])
  })

  it('refuses a key that stands for another transfer', async () => {
    const tenant = await tenantWith(100n)
    const idempotencyKey = randomUUID()
    await tenant.post({ idempotencyKey, amount: 30n })
    await expect(tenant.post({ idempotencyKey, amount: 31n })).rejects.toMatchObject({
      code: 'ERR_LEDGER_KEY_REUSED',
    })
  })

  it('never overdraws under concurrency, and money neither appears nor vanishes', async () => {
    const tenant = await tenantWith(50n)
    const outcomes = await Promise.allSettled([
      ...Array.from({ length: 30 }, () => tenant.post({ amount: 7n })),
      ...Array.from({ length: 10 }, () => tenant.post({ from: tenant.to, to: tenant.from, amount: 3n })),
    ])
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
    for (const { reason } of refused)
      expect(reason).toMatchObject({ code: 'ERR_LEDGER_OVERDRAFT', kind: 'conflict' })
    const balances = (await tenant.balances()).map(Number)
    expect(Math.min(...balances)).toBeGreaterThanOrEqual(0)
    expect(balances.reduce((sum, balance) => sum + balance, 0)).toBe(50)
  })

  it('writes two entries that sum to zero', async () => {
    const tenant = await tenantWith(10n)
    const { id } = await tenant.post({ amount: 4n })
    const entries = await runWithRlsContext({ tenantId: tenant.tenantId, userId: tenant.userId }, () =>
      listEntries(db, id),
    )
    expect(entries.map(({ amount }) => amount)).toEqual(['-4', '4'])
  })

  it('lets nobody move money out of the account of another, but an owner of the tenant', async () => {
    const tenant = await tenantWith(10n)
    await expect(tenant.post({ userId: randomUUID() })).rejects.toMatchObject({
      code: 'ERR_LEDGER_NOT_YOUR_ACCOUNT',
    })
    await expect(tenant.post({ userId: randomUUID(), onBehalf: true })).resolves.toMatchObject({
      kind: 'transfer',
    })
  })

  it('does not find the accounts of another tenant', async () => {
    const [mine, theirs] = [await tenantWith(10n), await tenantWith(10n)]
    await expect(mine.post({ to: theirs.to })).rejects.toMatchObject({
      code: 'ERR_LEDGER_NO_ACCOUNT',
      kind: 'not-found',
    })
  })
})

describe('settle', () => {
  it('writes only for the holder of the lease', async () => {
    const tenant = await tenantWith(10n)
    await tenant.post({ amount: 1n })
    const name = `settlement-${randomUUID()}`
    const slow = createLeases({ pool: database.systemPool, holder: 'slow', duration: '1s' })
    const quick = createLeases({ pool: database.systemPool, holder: 'quick', duration: '30s' })
    const lost = await slow.acquire(name)
    if (!lost) throw new Error('The lease was not free.')
    await slow.release(lost)
    const held = await quick.acquire(name)
    if (!held) throw new Error('The lease was not free after its release.')
    await expect(settle(db, slow, lost)).rejects.toMatchObject({ code: 'ERR_QUEUE_LEASE_LOST' })
    expect(await settle(db, quick, held)).toBeGreaterThanOrEqual(2)
    expect(held.epoch).toBeGreaterThan(lost.epoch)
  })
})
