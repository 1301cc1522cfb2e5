import { customPolicy, ownerPolicy, rolePolicy, tenantPolicy, type TablePolicy } from '@quintet/rls'

/** What the tenants' role may do in the tables of media: objects are their owner's, and for all once they are shared. */
export const policies: readonly TablePolicy[] = [
  ownerPolicy('objects', { column: 'owner_id' }),
  rolePolicy('objects', { for: ['select', 'update', 'delete'], roles: ['owner'] }),
  tenantPolicy('usage', { for: ['select'] }),
  customPolicy('objects', {
    name: 'shared',
    for: ['select'],
    using: "shared and tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid)",
    columns: ['tenant_id'],
    tenantColumn: 'tenant_id',
  }),
]
