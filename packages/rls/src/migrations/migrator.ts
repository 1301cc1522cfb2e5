import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { Pool } from 'pg'
import { failed, readMigrationFiles, type MigrationFile } from './migration-files.ts'
import { withMigrationLock } from './migration-lock.ts'
import { newMigrationName, newMigrationText } from './new-migration.ts'
import {
  migratorDefaults,
  resolveMigratorOptions,
  type MigratorOptions,
  type ResolvedMigratorOptions,
} from './options.ts'
import { refuseInUse } from './refuse-in-use.ts'
import { recordDown, recordUp, runMigration } from './run-migration.ts'
import {
  compareMigrations,
  namesOf,
  readApplied,
  refuseChanged,
  refuseMissing,
  refuseOutOfOrder,
  type MigrationStatus,
} from './status.ts'

export interface Migrator {
  /**
   * Runs what is pending, each in a transaction of its own, and returns the names. Callers at the same time
   * wait for each other (an advisory lock); each migration runs once.
   *
   * @throws RlsError before anything runs: `ERR_RLS_MIGRATION_CHANGED` for one that was changed or removed
   *   after it had run, `ERR_RLS_MIGRATION_ORDER` for one that comes before those that ran.
   *   `ERR_RLS_MIGRATION_FAILED` when one fails; those before it stay.
   */
  up(): Promise<readonly string[]>
  /**
   * Takes the last migrations back and returns their names. @defaultValue one
   *
   * @throws RlsError `ERR_RLS_DATABASE_IN_USE` while an app is connected, unless `force` is set.
   */
  down(steps?: number, options?: { readonly force?: boolean }): Promise<readonly string[]>
  /**
   * Takes the folder for the truth: records the checksums of changed files and forgets migrations whose file
   * is gone. Runs none of them, and returns their names.
   */
  repair(): Promise<readonly string[]>
  /** Compares folder and database, and writes nothing. */
  status(): Promise<readonly MigrationStatus[]>
  /** Writes an empty migration and returns its path. */
  'new'(name: string, options?: { readonly language?: 'ts' | 'sql' }): Promise<string>
}

/** Makes the migrator of one folder. It connects when it is used, and disconnects after each use. */
export function createMigrator(options: MigratorOptions): Migrator {
  return migratorOf(resolveMigratorOptions(options))
}

/** @param record is told each statement that a migration runs, with the name of the migration. */
export function migratorOf(
  resolved: ResolvedMigratorOptions,
  record: (migration: string, statement: string) => void = () => undefined,
): Migrator {
  const { ownerUrl, folder, logger } = resolved
  let running: string | undefined

  const withDatabase = async <Result>(run: (db: Kysely<unknown>) => Promise<Result>): Promise<Result> => {
    const pool = new Pool({ connectionString: ownerUrl, max: 1, keepAlive: true })
    const onLost = (error: Error): void => logger.warn({ err: error }, 'a connection for migrations was lost')
    pool.on('error', onLost)
    // The statement in flight is told too; without a listener the same error would end the process.
    pool.on('connect', (client) => client.on('error', onLost))
    const db = new Kysely<unknown>({
      dialect: new PostgresDialect({ pool }),
      log: ({ query }) => {
        if (running !== undefined) record(running, query.sql)
      },
    })
    try {
      return await run(db)
    } finally {
      await db.destroy()
    }
  }

  /** Reads folder and database once no other migrator can change them. */
  const locked = <Result>(
    run: (
      db: Kysely<unknown>,
      files: readonly MigrationFile[],
      status: readonly MigrationStatus[],
    ) => Promise<Result>,
  ): Promise<Result> =>
    withDatabase(async (db) => {
      const files = await readMigrationFiles(folder)
      await prepareSchema(db)
      return withMigrationLock(db, logger, async (connection) =>
        run(connection, files, compareMigrations(files, await readApplied(connection))),
      )
    })

  const migrate = async (
    db: Kysely<unknown>,
    files: readonly MigrationFile[],
    names: readonly string[],
    direction: 'up' | 'down',
  ): Promise<readonly string[]> => {
    for (const name of names) {
      const file = files.find((one) => one.name === name)
      if (file === undefined) throw failed(name, new Error('Its file is gone.'))
      running = name
      await runMigration(db, file, direction, resolved)
      running = undefined
      logger.info({ migration: name, direction }, 'migrated')
    }
    return names
  }

  return {
    up: () =>
      locked(async (db, files, status) => {
        refuseChanged(status)
        refuseMissing(status)
        refuseOutOfOrder(status)
        return migrate(db, files, namesOf(status, 'pending'), 'up')
      }),
    async down(steps = 1, { force = false } = {}) {
      if (!Number.isInteger(steps) || steps < 1)
        throw new TypeError(`down: ${String(steps)} is no number of steps.`)
      return locked(async (db, files, status) => {
        refuseChanged(status)
        if (!force) await refuseInUse(db)
        const applied = status.filter(({ state }) => state !== 'pending').map(({ name }) => name)
        return migrate(db, files, applied.toReversed().slice(0, steps), 'down')
      })
    },
    repair: () =>
      locked(async (db, files, status) => {
        const changed = namesOf(status, 'changed')
        const missing = namesOf(status, 'missing')
        await db.transaction().execute(async (trx) => {
          for (const file of files) if (changed.includes(file.name)) await recordUp(trx, file)
          for (const name of missing) await recordDown(trx, { name })
        })
        for (const migration of [...changed, ...missing]) logger.warn({ migration }, 'migration repaired')
        return [...changed, ...missing]
      }),
    status: () =>
      withDatabase(async (db) => compareMigrations(await readMigrationFiles(folder), await readApplied(db))),
    async new(name, { language = 'ts' } = {}) {
      const path = join(folder, `${newMigrationName(name, new Date())}.${language}`)
      await mkdir(folder, { recursive: true })
      await writeFile(path, newMigrationText(language), { flag: 'wx' })
      return path
    },
  }
}

/**
 * Several migrators may start on an empty database at once, and IF NOT EXISTS does not hold between them.
 * Every login may read which migrations have run, from the first moment: apps wait for them.
 */
async function prepareSchema(db: Kysely<unknown>): Promise<void> {
  const { schema, table } = migratorDefaults
  const applied = sql.table(`${schema}.${table}`)
  const checksums = sql.table(`${schema}.${table}_checksum`)
  await db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(${'6051432110874520578'}::bigint)`.execute(trx)
    await sql`create schema if not exists ${sql.id(schema)}`.execute(trx)
    // As Kysely's own migrator would create it.
    await sql`create table if not exists ${applied}
      (name varchar(255) primary key, timestamp varchar(255) not null)`.execute(trx)
    await sql`create table if not exists ${checksums} (name text primary key, checksum text not null)`.execute(
      trx,
    )
    await sql`grant usage on schema ${sql.id(schema)} to public`.execute(trx)
    await sql`grant select on ${applied}, ${checksums} to public`.execute(trx)
  })
}
