import { systemOnlyPolicy } from '@quintet/rls'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table machines (
      id uuid primary key,
      tenant_id uuid not null references tenants,
      name text not null,
      scopes text[] not null,
      -- SHA-256 of 256 random bits: whoever reads the table can use none.
      key_hash bytea not null,
      -- What the key begins with, by which its owner knows it again.
      key_prefix text not null,
      -- Who is removed takes the machines that they have added along.
      added_by uuid not null,
      added_at timestamptz not null default now(),
      expires_at timestamptz not null,
      last_used_at timestamptz,
      foreign key (tenant_id, added_by) references users (tenant_id, id) on delete cascade
    )`.execute(db)
  await sql`create index machines_by_tenant on machines (tenant_id, id)`.execute(db)
  await sql`create index machines_by_user on machines (tenant_id, added_by)`.execute(db)
  await sql`create trigger tenant_lives before insert on machines
    for each row execute function assert_tenant_lives()`.execute(db)
  await applyPolicies(db, [systemOnlyPolicy('machines')], await currentRoles(db))
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table machines`.execute(db)
}
