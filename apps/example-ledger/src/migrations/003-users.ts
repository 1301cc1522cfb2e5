import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'
import { usersPolicy } from '../policies.ts'

/** Who belongs to a tenant, as the auth app tells: an owner opens accounts for no one else. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table users (
      tenant_id uuid not null,
      id uuid not null,
      -- Stays, so that word of their arrival that comes late does not bring them back.
      removed boolean not null,
      primary key (tenant_id, id)
    )`.execute(db)
  // Whoever has an account already was known when it was opened.
  await sql`
    insert into users (tenant_id, id, removed)
    select distinct tenant_id, owner_id, false from accounts where owner_id is not null`.execute(db)
  await applyPolicies(db, [usersPolicy], await currentRoles(db))
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table users`.execute(db)
}
