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
    /** Of a tenant that was removed; its name stays taken. */
    removed_at: ColumnType<Date | null, never, Date>
  }
  users: {
    id: Generated<string>
    tenant_id: string
    email: string
    name: string
    roles: Role[]
    /** When the user has shown that they read the mail to their address. */
    email_verified_at: ColumnType<Date | null, Date | undefined, Date>
    created_at: CreatedAt
  }
  /** Invitations, resets and verifications of addresses. Tenants have no right to this table. */
  tickets: {
    token_hash: Buffer
    kind: 'invitation' | 'password-reset' | 'email-verification'
    tenant_id: string
    user_id: string | null
    /** The owner who has sent the invitation. */
    invited_by: string | null
    email: string
    roles: Role[]
    expires_at: ColumnType<Date, unknown, never>
  }
  exports: {
    id: string
    tenant_id: string
    user_id: string | null
    requested_by: string
    created_at: CreatedAt
  }
  export_parts: {
    tenant_id: string
    export_id: string
    app: string
    part: number
    last: boolean
    rows: ColumnType<readonly unknown[], string, never>
  }
  audit_events: {
    id: string
    tenant_id: string
    type: string
    actor_id: string | null
    user_id: string | null
    address: string | null
    /** Who was invited. */
    email: string | null
    created_at: CreatedAt
  }
  /** Tenants have no right to this table. */
  passwords: {
    user_id: string
    /** Argon2id, in PHC format. */
    hash: string
  }
  /** Authenticator apps. Tenants have no right to this table, or the next. */
  second_factors: {
    user_id: string
    /** Sealed. */
    secret: Buffer
    confirmed_at: ColumnType<Date | null, never, Date>
    last_step: ColumnType<string, never, number>
  }
  recovery_codes: {
    user_id: string
    code_hash: Buffer
  }
  /** Clients that act for no user. Tenants have no right to this table. */
  machines: {
    id: string
    tenant_id: string
    name: string
    scopes: string[]
    key_hash: Buffer
    key_prefix: string
    added_by: string
    added_at: CreatedAt
    expires_at: ColumnType<Date, unknown, never>
    last_used_at: ColumnType<Date | null, never, Date>
  }
  /** Of `@quintet/auth`: how often all sessions of a user were ended. */
  auth_session_epochs: {
    tenant_id: string
    user_id: string
    epoch: number
  }
}
