import { asSystem } from '@quintet/rls'
import { sql, type Kysely } from 'kysely'
import type { LedgerTables } from './schema.ts'

/** What does not add up. */
export interface Discrepancy {
  readonly what: 'account' | 'transfer' | 'currency'
  /** The id of an account or transfer, or a tenant and its currency. */
  readonly id: string
}

type Db = Kysely<LedgerTables>

/** What one statement looks at: so much takes a second or two, however large the books are. */
const accountsAtOnce = 50
const entriesAtOnce = 10_000
const transfersAtOnce = 10_000

/**
 * Reconciles the ledger, tenant by tenant: every balance equals the sum of its entries and what its last entry says, the
 * entries of every posted transfer are two and sum to zero, and so do all balances of a tenant in a currency.
 */
export async function reconcile(db: Db, signal?: AbortSignal): Promise<readonly Discrepancy[]> {
  return asSystem('reconcile the ledger', async () => {
    const found: Discrepancy[] = []
    let tenantId = await tenantAfter(db, '00000000-0000-0000-0000-000000000000')
    while (tenantId !== undefined) {
      signal?.throwIfAborted()
      found.push(...(await reconcileTenant(db, tenantId)))
      tenantId = await tenantAfter(db, tenantId)
    }
    return found
  })
}

async function tenantAfter(db: Db, last: string): Promise<string | undefined> {
  const next = db.selectFrom('accounts').select('tenant_id').where('tenant_id', '>', last)
  return (await next.orderBy('tenant_id').limit(1).executeTakeFirst())?.tenant_id
}

async function reconcileTenant(db: Db, tenantId: string): Promise<readonly Discrepancy[]> {
  const accounts = await brokenAccounts(db, tenantId)
  const transfers = await brokenTransfers(db, tenantId)
  const currencies = await brokenCurrencies(db, tenantId)
  const found = [
    ...accounts.map((id) => ({ what: 'account', id }) as const),
    ...transfers.map((id) => ({ what: 'transfer', id }) as const),
    ...currencies.map((id) => ({ what: 'currency', id: `${tenantId} ${id}` }) as const),
  ]
  return found.length > 0 && (await isErased(db, tenantId)) ? [] : found
}

/** How far the entries of an account have been added up. */
interface Tally {
  readonly id: string
  readonly position: string
  readonly balance: bigint
}

async function brokenAccounts(db: Db, tenantId: string): Promise<readonly string[]> {
  const broken: string[] = []
  let last: string | undefined
  do {
    const accounts = await db
      .selectFrom('accounts')
      .select('id')
      .where('tenant_id', '=', tenantId)
      .$if(last !== undefined, (query) => query.where('id', '>', last ?? ''))
      .orderBy('id')
      .limit(accountsAtOnce)
      .execute()
    let open: readonly Tally[] = accounts.map(({ id }) => ({ id, position: '0', balance: 0n }))
    while (open.length > 0) open = await addUp(db, tenantId, open, broken)
    last = accounts.at(-1)?.id
  } while (last !== undefined)
  return broken
}

/** Adds up the next entries of these accounts, and gives those that have more. */
async function addUp(
  db: Db,
  tenantId: string,
  tallies: readonly Tally[],
  broken: string[],
): Promise<readonly Tally[]> {
  const { rows } = await sql<{
    readonly id: string
    readonly balance: string
    readonly count: number
    readonly sum: string
    readonly position: string | null
    readonly reached: string | null
  }>`
    select accounts.id, balance, made.*
    from unnest(${tallies.map(({ id }) => id)}::uuid[], ${tallies.map(({ position }) => position)}::bigint[]) as known (id, position)
    join accounts on accounts.tenant_id = ${tenantId} and accounts.id = known.id
    cross join lateral (
      select count(*)::int as count, coalesce(sum(amount), 0) as sum, max(position) as position,
        (array_agg(balance_after order by position desc))[1] as reached
      from (select position, amount, balance_after from entries
        where tenant_id = ${tenantId} and account_id = known.id and entries.position > known.position
        order by position limit ${entriesAtOnce}) as next
    ) as made`.execute(db)
  const before = new Map(tallies.map((tally) => [tally.id, tally]))
  const open: Tally[] = []
  for (const { id, balance, count, sum, position, reached } of rows) {
    const expected = (before.get(id)?.balance ?? 0n) + BigInt(sum)
    const isLast = count < entriesAtOnce
    if (expected !== BigInt(reached ?? expected) || (isLast && expected !== BigInt(balance))) broken.push(id)
    else if (!isLast && position !== null) open.push({ id, position, balance: expected })
  }
  return open
}

async function brokenTransfers(db: Db, tenantId: string): Promise<readonly string[]> {
  const broken: string[] = []
  let last: string | null = '00000000-0000-0000-0000-000000000000'
  while (last !== null) {
    const { rows } = await sql<{ readonly last: string | null; readonly broken: readonly string[] | null }>`
      select (array_agg(id order by id desc))[1] as last, array_agg(id order by id) filter (where
        count <> (case when status in ('awaiting', 'rejected') then 0 else 2 end) or sum <> 0) as broken
      from (select id, status from transfers where tenant_id = ${tenantId} and id > ${last}
        order by id limit ${transfersAtOnce}) as next
      cross join lateral (select count(*) as count, coalesce(sum(amount), 0) as sum from entries
        where tenant_id = ${tenantId} and transfer_id = next.id) as made`.execute(db)
    broken.push(...(rows[0]?.broken ?? []))
    last = rows[0]?.last ?? null
  }
  return broken
}

async function brokenCurrencies(db: Db, tenantId: string): Promise<readonly string[]> {
  const { rows } = await sql<{ readonly currency: string }>`
    select currency from accounts where tenant_id = ${tenantId}
    group by currency having sum(balance) <> 0 order by currency`.execute(db)
  return rows.map(({ currency }) => currency)
}

/** Books that are being erased do not add up. */
async function isErased(db: Db, tenantId: string): Promise<boolean> {
  const { rows } = await sql`select from erased_tenants where tenant_id = ${tenantId}`.execute(db)
  return rows.length > 0
}
