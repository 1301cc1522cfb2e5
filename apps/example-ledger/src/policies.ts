import {
  customPolicy,
  ownerPolicy,
  rolePolicy,
  sharedPolicy,
  systemOnlyPolicy,
  tenantPolicy,
  type TablePolicy,
} from '@quintet/rls'
import { idempotencyPolicy } from '@quintet/rls/data'

const ofTenant = "tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid)"
/** The policies of accounts hold in it: members see those that are theirs, owners of the tenant all. */
const visibleAccount = (table: string, ...columns: string[]): string =>
  `exists (select from accounts where accounts.tenant_id = ${table}.tenant_id
    and accounts.id in (${columns.map((column) => `${table}.${column}`).join(', ')}))`

/** Written by the system alone, as the auth app tells. */
export const usersPolicy = tenantPolicy('users', { for: ['select'] })

/**
 * What the tenants' role may do in the tables of the ledger: open accounts, members for themselves, and read what is theirs.
 * Transfers, entries and balances are written by the functions of `002-posting.ts` alone.
 */
export const policies: readonly TablePolicy[] = [
  sharedPolicy('currencies'),
  ownerPolicy('accounts', { for: ['select', 'insert'], column: 'owner_id' }),
  rolePolicy('accounts', { for: ['select', 'insert'], roles: ['owner'] }),
  ownerPolicy('transfers', { for: ['select'], column: 'created_by' }),
  customPolicy('transfers', {
    name: 'party',
    for: ['select'],
    using: `${ofTenant} and ${visibleAccount('transfers', 'from_account', 'to_account')}`,
    columns: ['tenant_id'],
    tenantColumn: 'tenant_id',
  }),
  customPolicy('entries', {
    name: 'party',
    for: ['select'],
    using: `${ofTenant} and ${visibleAccount('entries', 'account_id')}`,
    columns: ['tenant_id'],
    tenantColumn: 'tenant_id',
  }),
  idempotencyPolicy,
  systemOnlyPolicy('erased_tenants'),
]
