import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'
import { auditPolicy } from '../policies.ts'

const ofLivingTenants = ['users', 'tickets', 'exports'] as const

export async function up(db: Kysely<unknown>): Promise<void> {
  // Those whose inviter is not known can be accepted by none.
  await sql`delete from tickets where kind = 'invitation'`.execute(db)
  await sql`
    alter table tickets
      add column invited_by uuid,
      -- Who is removed takes their invitations along.
      add foreign key (tenant_id, invited_by) references users (tenant_id, id) on delete cascade,
      add check ((kind = 'invitation') = (invited_by is not null))`.execute(db)
  await sql`create index tickets_by_inviter on tickets (tenant_id, invited_by)`.execute(db)
  await sql`alter table audit_events add column email text`.execute(db)
  // Whatever the code does, nothing is added to a tenant that was removed: it waits for a removal, and then sees it.
  await sql`
    create function assert_tenant_lives() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
    declare removed timestamptz;
    begin
      execute format('select removed_at from %I.tenants where id = $1 for share', tg_table_schema)
        into removed using new.tenant_id;
      if removed is not null then
        raise exception 'the tenant was removed' using errcode = 'foreign_key_violation';
      end if;
      return new;
    end $$`.execute(db)
  for (const table of ofLivingTenants)
    await sql`create trigger tenant_lives before insert on ${sql.table(table)}
      for each row execute function assert_tenant_lives()`.execute(db)
  await applyPolicies(db, [auditPolicy], await currentRoles(db))
}

export async function down(db: Kysely<unknown>): Promise<void> {
  for (const table of ofLivingTenants) await sql`drop trigger tenant_lives on ${sql.table(table)}`.execute(db)
  await sql`drop function assert_tenant_lives`.execute(db)
  await sql`alter table audit_events drop column email`.execute(db)
  await sql`alter table tickets drop column invited_by`.execute(db)
}
