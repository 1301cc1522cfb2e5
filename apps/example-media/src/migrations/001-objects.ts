import { outboxMigration } from '@quintet/queue'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'
import { policies } from '../policies.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table objects (
      id uuid primary key,
      tenant_id uuid not null,
      owner_id uuid not null,
      name text not null,
      content_type text not null,
      size bigint not null check (size >= 0),
      sha256 text not null,
      image_format text check (image_format in ('jpeg', 'png', 'webp', 'gif', 'avif')),
      thumbnail_at timestamptz,
      -- Visible to all members of the tenant.
      shared boolean not null default false,
      -- An object is pending until all of its bytes are there, and removed until its file is gone.
      status text not null default 'ready' check (status in ('pending', 'ready', 'removed')),
      version integer not null default 1,
      created_at timestamptz not null default now()
    )`.execute(db)
  await sql`create index objects_by_tenant on objects (tenant_id, id)`.execute(db)
  await sql`create index objects_by_owner on objects (tenant_id, owner_id)`.execute(db)
  await sql`create index objects_to_reconcile on objects (created_at) where status <> 'ready'`.execute(db)
  const roles = await currentRoles(db)
  await applyPolicies(db, policies, roles)
  await sql.raw(outboxMigration({ tenantRole: roles.tenant, systemRole: roles.system })).execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table outbox, objects`.execute(db)
  await sql`drop function outbox_notify`.execute(db)
}
