import { outboxMigration } from '@quintet/queue'
import { systemOnlyPolicy } from '@quintet/rls'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'
import { auditPolicy } from '../policies.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table users add unique (tenant_id, id)`.execute(db)
  await sql`
    create table tickets (
      -- SHA-256 of what was sent by mail: whoever reads the table can use none.
      token_hash bytea primary key,
      kind text not null check (kind in ('invitation', 'password-reset')),
      tenant_id uuid not null references tenants,
      user_id uuid,
      email text not null,
      roles text[] not null check (roles <@ array['owner', 'member']),
      expires_at timestamptz not null,
      foreign key (tenant_id, user_id) references users (tenant_id, id) on delete cascade,
      check ((kind = 'password-reset') = (user_id is not null))
    )`.execute(db)
  await sql`create index tickets_by_tenant on tickets (tenant_id, email)`.execute(db)
  await sql`create index tickets_by_user on tickets (tenant_id, user_id)`.execute(db)
  await sql`create index tickets_by_expiry on tickets (expires_at)`.execute(db)
  await sql`
    create table audit_events (
      id uuid primary key,
      tenant_id uuid not null references tenants,
      type text not null,
      -- Who did it, and to whom; ids stay when users are removed.
      actor_id uuid,
      user_id uuid,
      address text,
      created_at timestamptz not null default now()
    )`.execute(db)
  await sql`create index audit_events_by_tenant on audit_events (tenant_id, id)`.execute(db)
  await sql`create index audit_events_by_age on audit_events (created_at)`.execute(db)
  await sql`alter table tenants add column removed_at timestamptz`.execute(db)
  const roles = await currentRoles(db)
  await applyPolicies(db, [systemOnlyPolicy('tickets'), auditPolicy], roles)
  await sql.raw(outboxMigration({ tenantRole: roles.tenant, systemRole: roles.system })).execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table outbox, audit_events, tickets`.execute(db)
  await sql`drop function outbox_claim, outbox_notify`.execute(db)
  await sql`alter table tenants drop column removed_at`.execute(db)
  await sql`alter table users drop constraint users_tenant_id_id_key`.execute(db)
}
