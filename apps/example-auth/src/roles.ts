import { allOf, hasRole, inTenant } from '@quintet/auth'

/** What a user may be. The table of users takes no other role. */
export type Role = 'owner' | 'member' | 'operator'

/** The platform's own tenant. The database lets no user of another one be an operator. */
export const platformTenantId = '00000000-0000-7000-8000-000000000001'

/** The operators of the platform: by their tenant, not by the name of a role alone. */
export const operator = allOf(inTenant(platformTenantId), hasRole('operator'))
