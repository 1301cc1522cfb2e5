import { sql, type Kysely } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table users add column email_verified_at timestamptz`.execute(db)
  await sql`
    alter table tickets
      drop constraint tickets_kind_check,
      add constraint tickets_kind_check check (kind in ('invitation', 'password-reset', 'email-verification')),
      drop constraint tickets_check,
      add constraint tickets_check check ((kind = 'invitation') = (user_id is null))`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`delete from tickets where kind = 'email-verification'`.execute(db)
  await sql`
    alter table tickets
      drop constraint tickets_kind_check,
      add constraint tickets_kind_check check (kind in ('invitation', 'password-reset')),
      drop constraint tickets_check,
      add constraint tickets_check check ((kind = 'password-reset') = (user_id is not null))`.execute(db)
  await sql`alter table users drop column email_verified_at`.execute(db)
}
