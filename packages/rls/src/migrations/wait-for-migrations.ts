import { setTimeout as delay } from 'node:timers/promises'
import type { Duration } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { Kysely, PostgresDialect } from 'kysely'
import { Pool } from 'pg'
import { RlsError } from '../errors.ts'
import { mapPostgresError } from '../sql/postgres-errors.ts'
import { readMigrationFiles } from './migration-files.ts'
import { compareMigrations, readApplied, refuseChanged } from './status.ts'

export interface WaitForMigrationsOptions {
  /** Any login of the database. */
  readonly url: string
  /** The folder that the app was built with. */
  readonly folder: string
  /** How long to wait. @defaultValue `'60s'` */
  readonly timeout?: Duration
  readonly signal?: AbortSignal
}

/**
 * Waits until the database has every migration of the folder. One that it has beyond those is no
 * reason to wait: an older version of the app goes on beside a newer one.
 *
 * @throws RlsError `ERR_RLS_MIGRATIONS_PENDING` after the timeout, `ERR_RLS_MIGRATION_CHANGED` at once.
 */
export async function waitForMigrations(options: WaitForMigrationsOptions): Promise<void> {
  refuseUnknownKeys(options, ['url', 'folder', 'timeout', 'signal'], 'waitForMigrations')
  const timeout = parseDuration(options.timeout ?? '60s', 'waitForMigrations.timeout')
  const files = await readMigrationFiles(options.folder)
  const pool = new Pool({ connectionString: options.url, max: 1 })
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })
  const end = performance.now() + timeout
  try {
    for (let pause = 25; ; pause = Math.min(pause * 2, 1_000)) {
      options.signal?.throwIfAborted()
      let reason: unknown
      let pending: readonly string[] = files.map(({ name }) => name)
      try {
        const status = compareMigrations(files, await readApplied(db))
        refuseChanged(status)
        pending = status.filter(({ state }) => state === 'pending').map(({ name }) => name)
      } catch (error) {
        if (mapPostgresError(error)?.kind !== 'unavailable') throw error
        reason = error
      }
      if (pending.length === 0) return
      const left = end - performance.now()
      if (left <= 0) throw stillPending(pending, reason)
      await delay(Math.min(pause, left), undefined, options.signal ? { signal: options.signal } : {})
    }
  } finally {
    await db.destroy()
  }
}

function stillPending(pending: readonly string[], cause: unknown): RlsError {
  return new RlsError(
    `The database still lacks the migrations ${pending.join(', ')}. Run them with the owner login (quintet migrate up).`,
    { code: 'ERR_RLS_MIGRATIONS_PENDING', kind: 'unavailable', details: { pending }, cause },
  )
}
