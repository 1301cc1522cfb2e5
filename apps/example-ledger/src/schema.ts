import type { ColumnType, Generated } from 'kysely'

/** PostgreSQL gives a bigint as a string, and takes a bigint. Tenants write none: balances are the functions' own. */
type BigIntColumn = ColumnType<string, never, never>
type CreatedAt = ColumnType<Date, never, never>

/** The tables of the ledger, as Kysely knows them. */
export interface LedgerTables {
  currencies: {
    /** ISO 4217. */
    code: string
    /** How many decimal places an amount has. */
    minor_units: number
    four_eyes_above: BigIntColumn
  }
  /** Who belongs to which tenant. */
  users: {
    tenant_id: string
    id: string
    removed: boolean
  }
  accounts: {
    id: Generated<string>
    tenant_id: string
    /** Null for the tenant's equity account, the other side of what comes in from outside. */
    owner_id: string | null
    currency: string
    balance: BigIntColumn
    version: Generated<number>
    created_at: CreatedAt
  }
  transfers: {
    id: Generated<string>
    tenant_id: string
    /** The SHA-256 of the client's key. */
    idempotency_key: string
    kind: 'fund' | 'transfer' | 'reversal'
    from_account: string
    to_account: string
    amount: BigIntColumn
    currency: string
    created_by: string
    /** How often all sessions of who made it had been ended then. */
    maker_epoch: Generated<number>
    approved_by: string | null
    rejected_by: string | null
    reverses: string | null
    status: ColumnType<'awaiting' | 'rejected' | 'posted' | 'settled', never, 'settled'>
    settled_epoch: ColumnType<string | null, never, bigint>
    created_at: CreatedAt
  }
  entries: {
    id: Generated<string>
    position: BigIntColumn
    tenant_id: string
    transfer_id: string
    account_id: string
    amount: BigIntColumn
    balance_after: BigIntColumn
    created_at: CreatedAt
  }
}
