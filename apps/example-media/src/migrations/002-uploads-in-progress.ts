import { sql, type Kysely } from 'kysely'

/** When the bytes of an upload came last: what is not touched any more has lost its process. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table objects add column touched_at timestamptz not null default now()`.execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`alter table objects drop column touched_at`.execute(db)
}
