import { rolesHere } from '@quintet/example-platform/roles'
import { applyPolicies } from '@quintet/rls'
import { sql, type Kysely } from 'kysely'
import { policies } from '../policies.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table tenants (
      id uuid primary key default gen_random_uuid(),
      slug text not null unique,
      created_at timestamptz not null default now()
    )`.execute(db)
  await sql`
    create table users (
      id uuid primary key default gen_random_uuid(),
      tenant_id uuid not null references tenants,
      email text not null,
      name text not null,
      password_hash text not null,
      roles text[] not null default '{}',
      created_at timestamptz not null default now(),
      unique (tenant_id, email)
    )`.execute(db)
  await applyPolicies(db, policies, await rolesHere(db))
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table users, tenants`.execute(db)
}
