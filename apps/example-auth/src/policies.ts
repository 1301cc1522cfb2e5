import { customPolicy, tenantPolicy, type TablePolicy } from '@quintet/rls'

/** What the tenants' role may do in the tables of identity. Sign-up and sign-in are the system's work. */
export const policies: readonly TablePolicy[] = [
  customPolicy('tenants', {
    name: 'own',
    for: ['select'],
    using: "id = (select nullif(current_setting('app.tenant_id', true), '')::uuid)",
    columns: ['id'],
    tenantColumn: 'id',
  }),
  tenantPolicy('users', { for: ['select', 'insert', 'update'] }),
]
