import { hash } from 'node:crypto'
import { QuintetError, uuidv7, type ErrorKind } from '@quintet/core'
import { defineKeyset, type KeysetPage, type KeysetRequest } from '@quintet/rls/data'
import { sql, type Kysely, type Selectable, type Transaction } from 'kysely'
import { toAmount } from './money.ts'
import type { LedgerTables } from './schema.ts'

/** A transfer as `post_transfer` gives it. */
export interface Transfer extends Pick<
  Selectable<LedgerTables['transfers']>,
  'id' | 'kind' | 'from_account' | 'to_account' | 'amount' | 'currency' | 'status' | 'reverses'
> {
  readonly minor_units: number
  /** Whose accounts these are; null for the tenant's equity. */
  readonly payer: string | null
  readonly payee: string | null
  /** True when it was made before, and nothing was done now. */
  readonly replayed: boolean
}
export type Entry = Selectable<LedgerTables['entries']> & { readonly minor_units: number }

/** What is to be posted, in the name of the caller; the same key is the same transfer, however often it comes. */
export type Order = { readonly idempotencyKey: string } & (
  | { readonly kind: 'transfer'; readonly from: string; readonly to: string; readonly amount: string }
  /** From the tenant's equity account. */
  | {
      readonly kind: 'fund'
      readonly to: string
      readonly amount: string
      /** How often all sessions of the caller had been ended: should that happen again, no one approves of it. @defaultValue 0 */
      readonly epoch?: number
    }
  /** Takes a transfer back. */
  | { readonly kind: 'reversal'; readonly reverses: string }
)

/** Runs in the transaction of a transfer that has just been posted. */
export type Announce = (trx: Transaction<LedgerTables>, transfer: Transfer) => Promise<void>

/**
 * Posts a transfer, once per idempotency key: one call of `post_transfer`, which checks and writes everything.
 *
 * @throws QuintetError by the table of refusals.
 */
export async function postTransfer(
  db: Kysely<LedgerTables>,
  order: Order,
  announce: Announce,
): Promise<Transfer> {
  const { kind, idempotencyKey, from, to, amount, reverses, epoch } = { ...blank, ...order }
  // Books are kept for longer than the client's own words are.
  const key = hash('sha256', idempotencyKey, 'base64url')
  return write(
    db,
    announce,
    sql<Transfer>`
    select * from post_transfer(${uuidv7()}, ${kind}, ${from}, ${to}, ${amount}, ${key}, ${reverses}, ${epoch})`,
  )
}

const blank = { from: null, to: null, amount: null, reverses: null, epoch: 0 }

/** Who has brought in what awaits an approval, and how often all their sessions had been ended then. */
export async function findMaker(
  db: Kysely<LedgerTables>,
  id: string,
): Promise<{ readonly tenantId: string; readonly userId: string; readonly epoch: number } | undefined> {
  return await db
    .selectFrom('transfers')
    .select(['tenant_id as tenantId', 'created_by as userId', 'maker_epoch as epoch'])
    .where('id', '=', id)
    .where('status', '=', 'awaiting')
    .executeTakeFirst()
}

/** Posts what an owner has brought in and another owner approves of. */
export async function approveTransfer(
  db: Kysely<LedgerTables>,
  id: string,
  announce: Announce,
): Promise<Transfer> {
  return write(db, announce, sql<Transfer>`select * from approve_transfer(${id})`)
}

/** Rejects what an owner has brought in and no one has approved of yet; also its maker does, to withdraw it. */
export async function rejectTransfer(db: Kysely<LedgerTables>, id: string): Promise<Transfer> {
  return write(db, async () => undefined, sql<Transfer>`select * from reject_transfer(${id})`)
}

async function write(
  db: Kysely<LedgerTables>,
  announce: Announce,
  statement: ReturnType<typeof sql<Transfer>>,
): Promise<Transfer> {
  return db.transaction().execute(async (trx) => {
    const { rows } = await statement.execute(trx).catch((error: unknown) => {
      throw toRefusal(error)
    })
    const transfer = rows[0] as Transfer
    if (!transfer.replayed && transfer.status === 'posted') await announce(trx, transfer)
    return transfer
  })
}

/** A transfer as it stands in a list. */
export type ListedTransfer = Omit<Transfer, 'payer' | 'payee' | 'replayed'>

const newestFirst = defineKeyset([{ column: 'transfers.id', type: 'uuid', direction: 'desc' }])

/** A page of the transfers that the caller may see, newest first. */
export async function listTransfers(
  db: Kysely<LedgerTables>,
  status: Transfer['status'] | undefined,
  page: KeysetRequest,
): Promise<KeysetPage<ListedTransfer>> {
  return newestFirst.page(
    db
      .selectFrom('transfers')
      .innerJoin('currencies', 'code', 'currency')
      .selectAll('transfers')
      .select('minor_units')
      .$if(status !== undefined, (query) => query.where('status', '=', status ?? 'posted')),
    page,
  )
}

/**
 * The entries of a transfer that the caller may see: those of their own accounts, or both.
 *
 * @throws QuintetError `ERR_LEDGER_NO_TRANSFER` (not-found), also for a transfer of others.
 */
export async function listEntries(db: Kysely<LedgerTables>, transferId: string): Promise<readonly Entry[]> {
  const transfer = await db
    .selectFrom('transfers')
    .innerJoin('currencies', 'code', 'currency')
    .select('minor_units')
    .where('id', '=', transferId)
    .executeTakeFirst()
  if (!transfer) throw refusal('ERR_LEDGER_NO_TRANSFER', {})
  const entries = await db
    .selectFrom('entries')
    .selectAll()
    .where('transfer_id', '=', transferId)
    .orderBy('amount')
    .execute()
  return entries.map((entry) => ({ ...entry, ...transfer }))
}

/** Facts that a function of the ledger gives with a refusal; amounts in minor units. */
interface Facts {
  readonly account?: string
  readonly from?: string
  readonly to?: string
  readonly balance?: string
  readonly amount?: string
  readonly currency?: string
  readonly places?: number
}

/** What the functions of the ledger refuse, and what callers are told. */
const refusals: Readonly<Record<string, readonly [ErrorKind, (facts: Facts) => string]>> = {
  ERR_LEDGER_BAD_AMOUNT: [
    'invalid-input',
    ({ currency, places }) =>
      `Amounts in ${currency} have at most ${places} decimal places, and 15 digits in all.`,
  ],
  ERR_LEDGER_CURRENCIES_DIFFER: ['conflict', ({ from, to }) => `The accounts hold ${from} and ${to}.`],
  ERR_LEDGER_FOUR_EYES: ['forbidden', () => 'Another owner of the tenant has to approve it.'],
  ERR_LEDGER_KEY_REUSED: ['conflict', () => 'This idempotency key stands for another transfer.'],
  ERR_LEDGER_NO_ACCOUNT: ['not-found', ({ account }) => `There is no account ${account}.`],
  ERR_LEDGER_NO_TRANSFER: ['not-found', () => 'There is no such transfer.'],
  ERR_LEDGER_NOT_AWAITING: ['conflict', () => 'The transfer awaits no approval any more.'],
  ERR_LEDGER_NOT_OWNER: ['forbidden', () => 'Only an owner of the tenant does this.'],
  ERR_LEDGER_NOT_REVERSIBLE: [
    'conflict',
    () => 'The transfer is not one that can be taken back, or was already.',
  ],
  ERR_LEDGER_NOT_YOUR_ACCOUNT: ['forbidden', () => 'Only its owner may move money out of an account.'],
  ERR_LEDGER_OVERDRAFT: [
    'conflict',
    ({ balance = '0', amount = '0', currency, places = 0 }) =>
      `The account holds ${toAmount(balance, places)} ${currency}, less than ${toAmount(amount, places)}.`,
  ],
  ERR_LEDGER_SAME_ACCOUNT: ['invalid-input', () => 'An account cannot transfer to itself.'],
}

function refusal(code: string, facts: Facts, cause?: unknown): QuintetError {
  const [kind, describe] = refusals[code] ?? ['internal', () => 'The ledger could not do this.']
  return new QuintetError(describe(facts), { code, kind, cause })
}

/** What a function has refused as the error that callers get; anything else as it is. */
function toRefusal(error: unknown): unknown {
  const { code, message, detail } = error as { code?: unknown; message: string; detail?: string }
  return code === 'LEDGR' ? refusal(message, JSON.parse(detail ?? '{}') as Facts, error) : error
}
