import { ownerPolicy, rolePolicy, tenantPolicy, type TablePolicy } from '@quintet/rls'

/**
 * What the tenants' role may do in the tables of the ledger. What is posted stays posted: tenants add, and change
 * nothing. Members open accounts for themselves and post in their own name.
 */
export const policies: readonly TablePolicy[] = [
  tenantPolicy('accounts', { for: ['select', 'update'] }),
  ownerPolicy('accounts', { for: ['insert'], column: 'owner_id' }),
  rolePolicy('accounts', { for: ['insert'], roles: ['owner'] }),
  tenantPolicy('transfers', { for: ['select'] }),
  ownerPolicy('transfers', { for: ['insert'], column: 'created_by' }),
  tenantPolicy('entries', { for: ['select', 'insert'] }),
]
