import { systemOnlyPolicy } from '@quintet/rls'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table second_factors (
      user_id uuid primary key references users on delete cascade,
      -- Sealed by a key of the app: whoever reads the table makes no code.
      secret bytea not null,
      -- Once a first code has shown that the user has it.
      confirmed_at timestamptz,
      -- Of the code that was taken last: none is taken twice.
      last_step bigint not null default 0
    )`.execute(db)
  await sql`
    create table recovery_codes (
      user_id uuid not null references second_factors on delete cascade,
      -- SHA-256 of 80 random bits.
      code_hash bytea not null,
      primary key (user_id, code_hash)
    )`.execute(db)
  const tables = ['second_factors', 'recovery_codes']
  await applyPolicies(db, tables.map(systemOnlyPolicy), await currentRoles(db))
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table recovery_codes, second_factors`.execute(db)
}
