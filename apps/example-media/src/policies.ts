import { ownerPolicy, rolePolicy, tenantPolicy, type TablePolicy } from '@quintet/rls'

/** What the tenants' role may do in the tables of media: members use what is there, and remove what is theirs. */
export const policies: readonly TablePolicy[] = [
  tenantPolicy('objects', { for: ['select', 'update'] }),
  ownerPolicy('objects', { for: ['insert', 'delete'], column: 'owner_id' }),
  rolePolicy('objects', { for: ['delete'], roles: ['owner'] }),
]
