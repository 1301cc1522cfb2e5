import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { Migrator as KyselyMigrator, type Migration } from 'kysely/migration'
import { Pool } from 'pg'
import { failed, loadMigration, readMigrationFiles, type MigrationFile } from './migration-files.ts'
import { migratorDefaults, resolveMigratorOptions, type MigratorOptions } from './options.ts'
import { newMigrationName, newMigrationText } from './new-migration.ts'
import { compareMigrations, readApplied, refuseChanged, type MigrationStatus } from './status.ts'

export interface Migrator {
  /**
   * Runs what is pending, in one transaction, and returns the names. Callers at the same time wait for
   * each other (an advisory lock); each migration runs once.
   *
   * @throws RlsError `ERR_RLS_MIGRATION_CHANGED` before anything runs, `ERR_RLS_MIGRATION_FAILED` after
   *   everything has been rolled back.
   */
  up(): Promise<readonly string[]>
  /** Takes the last migrations back and returns their names. @defaultValue one */
  down(steps?: number): Promise<readonly string[]>
  status(): Promise<readonly MigrationStatus[]>
  /** Writes an empty migration and returns its path. */
  'new'(name: string, options?: { readonly language?: 'ts' | 'sql' }): Promise<string>
}

/** Makes the migrator of one folder. It connects when it is used, and disconnects after each use. */
export function createMigrator(options: MigratorOptions): Migrator {
  const { ownerUrl, folder, logger } = resolveMigratorOptions(options)
  const { schema, table, lockTable } = migratorDefaults

  const withDatabase = async <Result>(run: (db: Kysely<unknown>) => Promise<Result>): Promise<Result> => {
    const pool = new Pool({ connectionString: ownerUrl, max: 2 })
    pool.on('error', (error) => logger.warn({ err: error }, 'a connection for migrations was lost'))
    const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })
    try {
      return await run(db)
    } finally {
      await db.destroy()
    }
  }

  const migrate = (direction: 'up' | 'down', steps: number): Promise<readonly string[]> =>
    withDatabase(async (db) => {
      const files = await readMigrationFiles(folder)
      await prepareSchema(db)
      const migrator = new KyselyMigrator({
        db,
        // Called under the lock, so that no other migrator can change the answer.
        provider: { getMigrations: () => guarded(db, files) },
        migrationTableSchema: schema,
        migrationTableName: table,
        migrationLockTableName: lockTable,
      })
      const done: string[] = []
      for (let step = 0; step < steps; step++) {
        const { error, results = [] } = await (direction === 'up'
          ? migrator.migrateToLatest()
          : migrator.migrateDown())
        const culprit = results.find(({ status }) => status === 'Error')
        if (culprit) throw failed(culprit.migrationName, error)
        if (error !== undefined) throw error
        const skipped = results.find(({ status }) => status === 'NotExecuted')
        if (skipped) throw failed(skipped.migrationName, new Error('It has no way down.'))
        done.push(...results.map(({ migrationName }) => migrationName))
        if (direction === 'up' || results.length === 0) break
      }
      for (const name of done) logger.info({ migration: name, direction }, 'migrated')
      return done
    })

  return {
    up: () => migrate('up', 1),
    async down(steps = 1) {
      if (!Number.isInteger(steps) || steps < 1)
        throw new TypeError(`down: ${String(steps)} is no number of steps.`)
      return migrate('down', steps)
    },
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

/** The migrations of the folder, each of which records its checksum when it runs. */
async function guarded(
  db: Kysely<unknown>,
  files: readonly MigrationFile[],
): Promise<Record<string, Migration>> {
  refuseChanged(compareMigrations(files, await readApplied(db)))
  const checksums = sql.table(`${migratorDefaults.schema}.${migratorDefaults.table}_checksum`)
  const entries = files.map((file): [string, Migration] => [
    file.name,
    {
      async up(trx) {
        await (await loadMigration(file)).up(trx)
        await sql`insert into ${checksums} (name, checksum) values (${file.name}, ${file.checksum})
          on conflict (name) do update set checksum = excluded.checksum`.execute(trx)
      },
      async down(trx) {
        const { down } = await loadMigration(file)
        if (down === undefined) throw new Error('It has no way down.')
        await down(trx)
        await sql`delete from ${checksums} where name = ${file.name}`.execute(trx)
      },
    },
  ])
  return Object.fromEntries(entries)
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
