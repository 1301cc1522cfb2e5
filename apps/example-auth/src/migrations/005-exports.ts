import { systemOnlyPolicy } from '@quintet/rls'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table exports (
      tenant_id uuid not null references tenants,
      id uuid not null,
      -- Of a user, or with null of the whole tenant.
      user_id uuid,
      requested_by uuid not null,
      created_at timestamptz not null default now(),
      primary key (tenant_id, id),
      foreign key (tenant_id, user_id) references users (tenant_id, id) on delete cascade,
      foreign key (tenant_id, requested_by) references users (tenant_id, id) on delete cascade
    )`.execute(db)
  await sql`create index exports_by_user on exports (tenant_id, user_id)`.execute(db)
  await sql`create index exports_by_requester on exports (tenant_id, requested_by)`.execute(db)
  await sql`create index exports_by_age on exports (created_at)`.execute(db)
  await sql`
    create table export_parts (
      tenant_id uuid not null,
      export_id uuid not null,
      app text not null,
      part integer not null,
      last boolean not null,
      rows jsonb not null,
      primary key (tenant_id, export_id, app, part),
      foreign key (tenant_id, export_id) references exports (tenant_id, id) on delete cascade
    )`.execute(db)
  await applyPolicies(db, ['exports', 'export_parts'].map(systemOnlyPolicy), await currentRoles(db))
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table export_parts, exports`.execute(db)
}
