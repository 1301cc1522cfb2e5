import { systemOnlyPolicy } from '@quintet/rls'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'
import { policies } from '../policies.ts'
import { platformTenantId } from '../roles.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table tenants (
      id uuid primary key default gen_random_uuid(),
      slug text not null unique check (slug ~ '^[a-z][a-z0-9-]{1,62}$'),
      created_at timestamptz not null default now()
    )`.execute(db)
  await sql`insert into tenants (id, slug) values (${sql.lit(platformTenantId)}, 'platform')`.execute(db)
  await sql`
    create table users (
      id uuid primary key default gen_random_uuid(),
      tenant_id uuid not null references tenants,
      email text not null,
      name text not null,
      roles text[] not null,
      created_at timestamptz not null default now(),
      unique (tenant_id, email),
      constraint known_roles check (roles <@ array['owner', 'member', 'operator']),
      -- Whatever the code does, an operator is a user of the platform's own tenant.
      constraint operators_of_the_platform check (
        not 'operator' = any (roles) or tenant_id = ${sql.lit(platformTenantId)})
    )`.execute(db)
  await sql`
    create table passwords (
      user_id uuid primary key references users on delete cascade,
      hash text not null
    )`.execute(db)
  await applyPolicies(db, [...policies, systemOnlyPolicy('passwords')], await currentRoles(db))
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table passwords, users, tenants`.execute(db)
}
