import type { ColumnType, Generated } from 'kysely'
import type { Role } from './roles.ts'

type CreatedAt = ColumnType<Date, never, never>

/** The tables of identity, as Kysely knows them. Sessions have a store of their own in `@quintet/auth`. */
export interface AuthTables {
  tenants: {
    id: Generated<string>
    /** The name in URLs and at sign-in, unique. */
    slug: string
    created_at: CreatedAt
  }
  users: {
    id: Generated<string>
    tenant_id: string
    email: string
    name: string
    roles: Role[]
    created_at: CreatedAt
  }
  /** Tenants have no right to this table. */
  passwords: {
    user_id: string
    /** Argon2id, in PHC format. */
    hash: string
  }
}
