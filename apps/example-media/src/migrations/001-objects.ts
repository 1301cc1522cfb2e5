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
  await sql`
    create table usage (
      tenant_id uuid primary key,
      objects bigint not null,
      bytes bigint not null
    )`.execute(db)
  // Whoever adds to it holds its row until the end of the transaction: two uploads cannot both take the last room.
  await sql`
    create function count_usage() returns trigger language plpgsql security definer
    set search_path = pg_catalog, public, pg_temp as $$
    begin
      insert into usage values (coalesce(new.tenant_id, old.tenant_id),
        (new.id is not null)::int - (old.id is not null)::int, coalesce(new.size, 0) - coalesce(old.size, 0))
      on conflict (tenant_id) do update
        set objects = usage.objects + excluded.objects, bytes = usage.bytes + excluded.bytes;
      return null;
    end $$`.execute(db)
  await sql`revoke all on function count_usage from public`.execute(db)
  await sql`
    create trigger count_usage after insert or delete or update of size on objects
    for each row execute function count_usage()`.execute(db)
  const roles = await currentRoles(db)
  await applyPolicies(db, policies, roles)
  await sql.raw(outboxMigration({ tenantRole: roles.tenant, systemRole: roles.system })).execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table outbox, objects, usage`.execute(db)
  await sql`drop function count_usage`.execute(db)
  await sql`drop function outbox_notify`.execute(db)
}
