import { QuintetError } from '@quintet/core'
import { sql, type Kysely, type Selectable, type Transaction } from 'kysely'
import { equityAccount, lockAccounts } from './accounts.ts'
import { toAmount } from './money.ts'
import type { LedgerTables } from './schema.ts'

export type Transfer = Selectable<LedgerTables['transfers']>
export type Entry = Selectable<LedgerTables['entries']>

export interface Order {
  readonly tenantId: string
  readonly userId: string
  /** Whether the caller may move money out of accounts of others, as an owner of the tenant may. */
  readonly onBehalf: boolean
  /** The key of this user for this kind of transfer: the same key is the same transfer, however often it comes. */
  readonly idempotencyKey: string
  readonly kind: 'fund' | 'transfer'
  /** Ignored for `fund`, which takes from the tenant's equity account. */
  readonly from: string | undefined
  readonly to: string
  /** Minor units, more than zero. */
  readonly amount: bigint
}

/**
 * Posts a transfer: its two entries and both balances in one transaction, once per idempotency key.
 *
 * @param announce runs in the same transaction, for a transfer that is new.
 * @throws QuintetError `ERR_LEDGER_OVERDRAFT` (conflict) when the account does not hold that much,
 *   `ERR_LEDGER_KEY_REUSED` (conflict) when the key stands for another transfer.
 */
export async function postTransfer(
  db: Kysely<LedgerTables>,
  order: Order,
  announce: (trx: Transaction<LedgerTables>, transfer: Transfer) => Promise<void>,
): Promise<Transfer> {
  return db.transaction().execute(async (trx) => {
    await serializeKey(trx, order)
    const fromId = order.from ?? (await equityOf(trx, order)).id
    const { from, to } = await lockAccounts(trx, fromId, order.to)
    if (from.currency !== to.currency) {
      throw new QuintetError(`The accounts hold ${from.currency} and ${to.currency}.`, {
        code: 'ERR_LEDGER_CURRENCIES_DIFFER',
        kind: 'conflict',
      })
    }
    if (order.kind === 'transfer' && from.owner_id !== order.userId && !order.onBehalf) {
      throw new QuintetError('Only its owner may move money out of an account.', {
        code: 'ERR_LEDGER_NOT_YOUR_ACCOUNT',
        kind: 'forbidden',
      })
    }
    // Only who may make the transfer is told what became of it.
    const earlier = await findByKey(trx, order)
    if (earlier) return sameTransfer(earlier, order)
    if (from.owner_id !== null && BigInt(from.balance) < order.amount) {
      throw new QuintetError(
        `The account holds ${toAmount(from.balance)} ${from.currency}, less than ${toAmount(order.amount)}.`,
        {
          code: 'ERR_LEDGER_OVERDRAFT',
          kind: 'conflict',
          details: { balance: toAmount(from.balance), amount: toAmount(order.amount) },
        },
      )
    }

    const transfer = await trx
      .insertInto('transfers')
      .values({
        tenant_id: order.tenantId,
        idempotency_key: order.idempotencyKey,
        kind: order.kind,
        from_account: from.id,
        to_account: to.id,
        amount: order.amount,
        currency: from.currency,
        created_by: order.userId,
        status: 'posted',
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    await trx
      .insertInto('entries')
      .values([
        { tenant_id: order.tenantId, transfer_id: transfer.id, account_id: from.id, amount: -order.amount },
        { tenant_id: order.tenantId, transfer_id: transfer.id, account_id: to.id, amount: order.amount },
      ])
      .execute()
    await addToBalance(trx, from.id, -order.amount)
    await addToBalance(trx, to.id, order.amount)
    await announce(trx, transfer)
    return transfer
  })
}

/**
 * The entries of a transfer, for its parties, who has made it, and an owner of the tenant.
 *
 * @throws QuintetError `ERR_LEDGER_NO_TRANSFER` (not-found), also for a transfer of others.
 */
export async function listEntries(
  db: Kysely<LedgerTables>,
  transferId: string,
  reader: { readonly userId: string; readonly seesAll: boolean },
): Promise<readonly Entry[]> {
  const entries = await db
    .selectFrom('entries')
    .innerJoin('transfers', 'transfers.id', 'entries.transfer_id')
    .selectAll('entries')
    .where('transfer_id', '=', transferId)
    .$if(!reader.seesAll, (query) =>
      query.where((where) =>
        where.or([
          where('transfers.created_by', '=', reader.userId),
          where.exists(
            where
              .selectFrom('accounts')
              .select('accounts.id')
              .where('accounts.owner_id', '=', reader.userId)
              .where((account) =>
                account.or([
                  account('accounts.id', '=', account.ref('transfers.from_account')),
                  account('accounts.id', '=', account.ref('transfers.to_account')),
                ]),
              ),
          ),
        ]),
      ),
    )
    .orderBy('amount')
    .execute()
  if (entries.length > 0) return entries
  throw new QuintetError('There is no such transfer.', { code: 'ERR_LEDGER_NO_TRANSFER', kind: 'not-found' })
}

/** Two calls with the same key wait for each other; the second one then finds the first one's transfer. */
async function serializeKey(trx: Transaction<LedgerTables>, order: Order): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${JSON.stringify([order.tenantId, order.userId, order.kind, order.idempotencyKey])}, 0))`.execute(
    trx,
  )
}

async function findByKey(trx: Transaction<LedgerTables>, order: Order): Promise<Transfer | undefined> {
  return trx
    .selectFrom('transfers')
    .selectAll()
    .where('created_by', '=', order.userId)
    .where('kind', '=', order.kind)
    .where('idempotency_key', '=', order.idempotencyKey)
    .executeTakeFirst()
}

function sameTransfer(earlier: Transfer, order: Order): Transfer {
  const same =
    earlier.kind === order.kind &&
    (order.from === undefined || earlier.from_account === order.from) &&
    earlier.to_account === order.to &&
    BigInt(earlier.amount) === order.amount
  if (same) return earlier
  throw new QuintetError('This idempotency key stands for another transfer.', {
    code: 'ERR_LEDGER_KEY_REUSED',
    kind: 'conflict',
  })
}

async function equityOf(trx: Transaction<LedgerTables>, order: Order): Promise<{ readonly id: string }> {
  const target = await trx
    .selectFrom('accounts')
    .select('currency')
    .where('id', '=', order.to)
    .executeTakeFirst()
  if (!target)
    throw new QuintetError(`There is no account ${order.to}.`, {
      code: 'ERR_LEDGER_NO_ACCOUNT',
      kind: 'not-found',
    })
  return equityAccount(trx, order.tenantId, target.currency)
}

async function addToBalance(
  trx: Transaction<LedgerTables>,
  accountId: string,
  amount: bigint,
): Promise<void> {
  await trx
    .updateTable('accounts')
    .set((column) => ({
      balance: sql<bigint>`${column.ref('balance')} + ${amount.toString()}::bigint`,
      version: sql<number>`version + 1`,
    }))
    .where('id', '=', accountId)
    .executeTakeFirstOrThrow()
}
