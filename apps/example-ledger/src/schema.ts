import type { ColumnType, Generated } from 'kysely'

/** PostgreSQL gives a bigint as a string, and takes a bigint. */
type BigIntColumn = ColumnType<string, bigint, bigint>
type CreatedAt = ColumnType<Date, never, never>

/** The tables of the ledger, as Kysely knows them. */
export interface LedgerTables {
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
    idempotency_key: string
    kind: 'fund' | 'transfer'
    from_account: string
    to_account: string
    amount: BigIntColumn
    currency: string
    created_by: string
    status: ColumnType<'posted' | 'settled', 'posted', 'settled'>
    settled_epoch: ColumnType<string | null, never, bigint>
    created_at: CreatedAt
  }
  entries: {
    id: Generated<string>
    tenant_id: string
    transfer_id: string
    account_id: string
    amount: BigIntColumn
    created_at: CreatedAt
  }
}
