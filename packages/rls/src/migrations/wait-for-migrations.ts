import { setTimeout as delay } from 'node:timers/promises'
import type { Duration } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { Client } from 'pg'
import { RlsError } from '../errors.ts'
import { kyselyOfClient } from '../sql/kysely-of-client.ts'
import { mapPostgresError } from '../sql/postgres-errors.ts'
import { readMigrationFiles } from './migration-files.ts'
import { compareMigrations, namesOf, readApplied, refuseChanged, type AppliedMigration } from './status.ts'

export interface WaitForMigrationsOptions {
  /** Any login of the database. */
  readonly url: string
  /** The folder that the app was built with. */
  readonly folder: string
  /** How long to wait, and a second at least for an answer. @defaultValue `'60s'` */
  readonly timeout?: Duration
  readonly signal?: AbortSignal
}

const spec = {
  url: option.text(),
  folder: option.text(),
  timeout: option.delay('60s'),
  signal: option.signal(),
}

/**
 * Waits until the database has every migration of the folder. One that it has beyond those is no
 * reason to wait: an older version of the app goes on beside a newer one.
 *
 * @throws RlsError `ERR_RLS_MIGRATIONS_PENDING` after the timeout, `ERR_RLS_MIGRATION_CHANGED` at once.
 */
export async function waitForMigrations(options: WaitForMigrationsOptions): Promise<void> {
  const { url, folder, timeout, signal } = readOptions<WaitForMigrationsOptions, typeof spec>(
    options,
    spec,
    'waitForMigrations',
  )
  const files = await readMigrationFiles(folder)
  const end = performance.now() + timeout
  for (let pause = 25; ; pause = Math.min(pause * 2, 1_000)) {
    signal?.throwIfAborted()
    const left = end - performance.now()
    let reason: unknown
    let pending: readonly string[] = files.map(({ name }) => name)
    try {
      const applied = await ask(
        url,
        Math.ceil(Math.min(Math.max(left, shortestAnswer), longestAnswer)),
        signal,
      )
      const status = compareMigrations(files, applied)
      refuseChanged(status)
      pending = namesOf(status, 'pending')
    } catch (error) {
      if (!isPassing(error)) throw error
      reason = error
    }
    if (pending.length === 0) return
    if (left <= 0) throw stillPending(pending, reason)
    await delay(Math.min(pause, left), undefined, signal ? { signal } : {})
  }
}

/** Milliseconds; a server that has not answered by then is asked again, on another connection. */
const longestAnswer = 5_000
const shortestAnswer = 1_000

/** Asks on a connection of its own, since a server that went silent takes its connection along. */
async function ask(
  url: string,
  milliseconds: number,
  signal: AbortSignal | undefined,
): Promise<readonly AppliedMigration[]> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: milliseconds,
    query_timeout: milliseconds,
  })
  // The statement in flight is told; without a listener the same error would end the process.
  client.on('error', () => undefined)
  const asked = client.connect().then(() => readApplied(kyselyOfClient(client)))
  try {
    return await (signal === undefined ? asked : orAborted(asked, signal))
  } finally {
    // Not awaited: a silent server does not say goodbye.
    client.end().catch(() => undefined)
  }
}

function orAborted<Result>(asked: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    asked.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/** Whether the database may yet come, and answer. */
function isPassing(error: unknown): boolean {
  const kind = mapPostgresError(error)?.kind
  return kind === 'unavailable' || kind === 'timeout'
}

function stillPending(pending: readonly string[], cause: unknown): RlsError {
  return new RlsError(
    `The database still lacks the migrations ${pending.join(', ')}. Run them with the owner login (quintet migrate up).`,
    { code: 'ERR_RLS_MIGRATIONS_PENDING', kind: 'unavailable', details: { pending }, cause },
  )
}
