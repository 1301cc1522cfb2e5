import type { ColumnType, Generated } from 'kysely'

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
    /** Argon2id, in PHC format. */
    password_hash: string
    roles: string[]
    created_at: CreatedAt
  }
}
