import { tenantPolicy, type TablePolicy } from '@quintet/rls'

/** What the tenants' role may do in the tables of analytics. */
export const policies: readonly TablePolicy[] = [
  tenantPolicy('counts', { for: ['select', 'insert', 'update'] }),
]
