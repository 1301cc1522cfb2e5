import { tenantPolicy, type TablePolicy } from '@quintet/rls'

/** What the tenants' role may do in the tables of media. */
export const policies: readonly TablePolicy[] = [tenantPolicy('objects')]
