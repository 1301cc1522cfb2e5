import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { openAppDatabase, type AppDatabase } from '@quintet/example-platform/testing'
import { createLeases } from '@quintet/queue'
import { runWithRlsContext } from '@quintet/rls'
import { postgresUrl } from '@quintet/test-kit'
import type { KeysetRequest } from '@quintet/rls/data'
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
  const as = <T>(run: () => Promise<T>, user: string = userId): Promise<T> =>
    runWithRlsContext({ tenantId, userId: user, roles: ['owner'] }, run)
  const open = (): Promise<string> =>
    as(async () => (await openAccount(db, { tenantId, ownerId: userId, currency: 'EUR' })).id)
  const [from, to] = [await open(), await open()]
  const post: Tenant['post'] = (order) =>
    as(
      () =>
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
      order.userId,
    )
  if (balance > 0n) await post({ kind: 'fund', from: undefined, to: from, amount: balance })
  const balances: Tenant['balances'] = async () => {
    const { items: accounts } = await as(() => listAccounts(db, {}, { limit: 10 }))
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
      listEntries(db, id, { userId: tenant.userId, seesAll: false }),
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

  it('keeps the keys of users apart, and tells nobody what became of the key of another', async () => {
    const tenant = await tenantWith(10n)
    const idempotencyKey = randomUUID()
    const mine = await tenant.post({ idempotencyKey })
    const stranger = randomUUID()
    await expect(tenant.post({ idempotencyKey, userId: stranger })).rejects.toMatchObject({
      code: 'ERR_LEDGER_NOT_YOUR_ACCOUNT',
    })
    const theirs = await tenant.post({ idempotencyKey, userId: stranger, onBehalf: true, amount: 2n })
    expect(theirs.id).not.toBe(mine.id)
    expect(await tenant.balances()).toEqual(['7', '3'])
  })

  it('does not find the accounts of another tenant', async () => {
    const [mine, theirs] = [await tenantWith(10n), await tenantWith(10n)]
    await expect(mine.post({ to: theirs.to })).rejects.toMatchObject({
      code: 'ERR_LEDGER_NO_ACCOUNT',
      kind: 'not-found',
    })
  })
})

describe('within a tenant', () => {
  it("shows a transfer's entries to its parties, its maker and an owner alone", async () => {
    const tenant = await tenantWith(10n)
    const maker = randomUUID()
    const { id } = await tenant.post({ userId: maker, onBehalf: true })
    const read = (userId: string, seesAll = false): Promise<unknown[]> =>
      runWithRlsContext({ tenantId: tenant.tenantId, userId }, async () => [
        ...(await listEntries(db, id, { userId, seesAll })),
      ])
    expect(await read(tenant.userId)).toHaveLength(2)
    expect(await read(maker)).toHaveLength(2)
    expect(await read(randomUUID(), true)).toHaveLength(2)
    await expect(read(randomUUID())).rejects.toMatchObject({ code: 'ERR_LEDGER_NO_TRANSFER' })
  })

  it('lets a member open accounts and post in their own name alone, whatever the code does', async () => {
    const tenant = await tenantWith(10n)
    const member = { tenantId: tenant.tenantId, userId: randomUUID(), roles: ['member'] }
    const opened = (ownerId: string): Promise<unknown> =>
      runWithRlsContext(member, () =>
        openAccount(db, { tenantId: member.tenantId, ownerId, currency: 'EUR' }),
      )
    await expect(opened(member.userId)).resolves.toMatchObject({ owner_id: member.userId })
    await expect(opened(tenant.userId)).rejects.toMatchObject({ code: '42501' })
    const { tenantId, userId, from, to } = tenant
    const forged = { tenantId, userId, from, to, onBehalf: false, kind: 'transfer', amount: 1n } as const
    await expect(
      runWithRlsContext(member, () =>
        postTransfer(db, { ...forged, idempotencyKey: randomUUID() }, async () => {}),
      ),
    ).rejects.toMatchObject({ code: '42501' })
  })

  it('lists accounts by pages, of one user or of all', async () => {
    const { tenantId, userId, from, to } = await tenantWith(0n)
    const list = (
      page: KeysetRequest,
      whose: { readonly ownerId?: string } = {},
    ): Promise<readonly [readonly string[], string | null]> =>
      runWithRlsContext({ tenantId, userId }, async () => {
        const { items, next } = await listAccounts(db, whose, page)
        return [items.map(({ id }) => id), next] as const
      })
    const ids = [from, to].toSorted()
    const [first, next] = await list({ limit: 1 })
    expect(first).toEqual(ids.slice(0, 1))
    expect(await list({ limit: 1, after: next ?? '' })).toEqual([ids.slice(1), null])
    expect(await list({ limit: 9 }, { ownerId: userId })).toEqual([ids, null])
    expect(await list({ limit: 9 }, { ownerId: randomUUID() })).toEqual([[], null])
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
