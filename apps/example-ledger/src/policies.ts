import { tenantPolicy, type TablePolicy } from '@quintet/rls'

/** What the tenants' role may do in the tables of the ledger. What is posted stays posted: tenants add, and change nothing. */
export const policies: readonly TablePolicy[] = [
  tenantPolicy('accounts', { for: ['select', 'insert', 'update'] }),
  tenantPolicy('transfers', { for: ['select', 'insert'] }),
  tenantPolicy('entries', { for: ['select', 'insert'] }),
]
