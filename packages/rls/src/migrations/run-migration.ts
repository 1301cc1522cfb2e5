import { setTimeout as delay } from 'node:timers/promises'
import { sql, type Kysely } from 'kysely'
import { failed, loadMigration, type MigrationFile } from './migration-files.ts'
import { migratorDefaults, type ResolvedMigratorOptions } from './options.ts'

const { schema, table } = migratorDefaults
const applied = sql.table(`${schema}.${table}`)
const checksums = sql.table(`${schema}.${table}_checksum`)

/**
 * Runs one migration in a transaction of its own and records it there. What earlier ones have set for the session is
 * taken back before, so that each runs as it would alone. A lock that it does not get in time is
 * given up and tried again, so that statements of apps never queue up behind it for long.
 *
 * @throws RlsError `ERR_RLS_MIGRATION_FAILED`; the migration has then left nothing, unless it runs without a
 *   transaction.
 */
export async function runMigration(
  db: Kysely<unknown>,
  file: MigrationFile,
  direction: 'up' | 'down',
  options: ResolvedMigratorOptions,
): Promise<void> {
  const migration = await loadMigration(file)
  const run = migration[direction]
  if (run === undefined) throw failed(file.name, new Error('It has no way down.'))
  const record = direction === 'up' ? recordUp : recordDown
  for (const statement of freshSession) await sql.raw(statement).execute(db)
  for (let attempt = 1; ; attempt++) {
    try {
      if (migration.noTransaction) {
        await run(db)
        await record(db, file)
      } else {
        await db.transaction().execute(async (trx) => {
          await sql`select set_config('lock_timeout', ${String(options.lockTimeout)}, true)`.execute(trx)
          const before = await transactionId(trx)
          await run(trx)
          if ((await transactionId(trx)) !== before) {
            throw new Error(
              'It ended its transaction, so that a part of it stays. Leave COMMIT and ROLLBACK out.',
            )
          }
          await record(trx, file)
        })
      }
      return
    } catch (error) {
      const waited = (error as { code?: unknown }).code === '55P03'
      if (!waited || migration.noTransaction || attempt >= options.lockAttempts)
        throw failed(file.name, error)
      options.logger.warn({ migration: file.name, attempt }, 'a migration waits for a lock and tries again')
      await delay(Math.min(100 * 2 ** attempt, 5_000) * (0.5 + Math.random() / 2))
    }
  }
}

/** As DISCARD ALL, but for the advisory lock of the migrator. */
const freshSession = [
  'close all',
  'reset session authorization',
  'reset all',
  'discard temp',
  'discard sequences',
  'unlisten *',
  'deallocate all',
] as const

async function transactionId(db: Kysely<unknown>): Promise<string | undefined> {
  const { rows } = await sql<{ id: string }>`select pg_current_xact_id()::text as id`.execute(db)
  return rows[0]?.id
}

/** Takes over the file as it is now, also when it was recorded before. */
export async function recordUp(db: Kysely<unknown>, { name, checksum }: MigrationFile): Promise<void> {
  await sql`insert into ${applied} (name, timestamp) values (${name}, ${new Date().toISOString()})
    on conflict (name) do nothing`.execute(db)
  await sql`insert into ${checksums} (name, checksum) values (${name}, ${checksum})
    on conflict (name) do update set checksum = excluded.checksum`.execute(db)
}

export async function recordDown(db: Kysely<unknown>, { name }: { readonly name: string }): Promise<void> {
  await sql`delete from ${applied} where name = ${name}`.execute(db)
  await sql`delete from ${checksums} where name = ${name}`.execute(db)
}
