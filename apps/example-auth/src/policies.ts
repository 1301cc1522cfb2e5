import { customPolicy, rolePolicy, tenantPolicy, type TablePolicy } from '@quintet/rls'

/** Owners of a tenant read what happened in it, and operators what happened in the platform's own. */
export const auditPolicy = rolePolicy('audit_events', { for: ['select'], roles: ['owner', 'operator'] })

/**
 * What the tenants' role may do in the tables of identity: it reads. Users and their roles are written by the system
 * alone, after the access rule of the procedure, so that nobody raises themselves; passwords it does not even read.
 */
export const policies: readonly TablePolicy[] = [
  customPolicy('tenants', {
    name: 'own',
    for: ['select'],
    using: "id = (select nullif(current_setting('app.tenant_id', true), '')::uuid)",
    columns: ['id'],
    tenantColumn: 'id',
  }),
  tenantPolicy('users', { for: ['select'] }),
]
