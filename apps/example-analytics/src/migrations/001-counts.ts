import { inboxMigration } from '@quintet/queue'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'
import { policies } from '../policies.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table counts (
      tenant_id uuid not null,
      topic text not null,
      day date not null,
      count bigint not null,
      primary key (tenant_id, topic, day)
    )`.execute(db)
  const roles = await currentRoles(db)
  await applyPolicies(db, policies, roles)
  await sql.raw(inboxMigration({ tenantRole: roles.tenant, systemRole: roles.system })).execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table inbox, counts`.execute(db)
}
