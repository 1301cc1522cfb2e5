import { createHash } from 'node:crypto'
import type { Duration } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import type { PoolClient } from 'pg'
import { RlsError } from '../errors.ts'

/** Where a lock takes its connection from: a pg pool, or one of ours. Not through a PgBouncer in transaction mode. */
export interface LockPool {
  connect(): Promise<PoolClient>
}

export interface AdvisoryLockOptions {
  /** How long to wait for the lock, and a second at least for a connection; 0 asks once. @defaultValue `'30s'` */
  readonly timeout?: Duration
  /** Gives the waiting up. */
  readonly signal?: AbortSignal
}

export const advisoryLockDefaults = Object.freeze({ timeout: '30s' } as const)

/**
 * Runs the function while this process holds the lock of that name in the database.
 *
 * The lock lives on one connection for as long as the function runs. When that connection is lost, so is
 * the lock: the signal aborts with `ERR_RLS_LOCK_LOST`, and so does the call once the function has ended.
 *
 * @throws RlsError `ERR_RLS_LOCK_TIMEOUT` when another session holds it for longer than the timeout.
 */
export async function withAdvisoryLock<Result>(
  pool: LockPool,
  name: string,
  run: (signal: AbortSignal) => Promise<Result>,
  options: AdvisoryLockOptions = {},
): Promise<Result> {
  refuseUnknownKeys(options, ['timeout', 'signal'], 'withAdvisoryLock')
  const timeout = parseDuration(options.timeout ?? advisoryLockDefaults.timeout, 'withAdvisoryLock.timeout')
  options.signal?.throwIfAborted()
  const end = performance.now() + timeout
  const client = await connect(pool, name, Math.max(timeout, leastConnectTime), options.signal)
  const lost = new AbortController()
  const onLost = (cause?: unknown): void => lost.abort(lockLost(name, cause))
  client.on('error', onLost)
  client.on('end', onLost)
  try {
    await acquire(client, name, end, options.signal)
    lost.signal.throwIfAborted()
    options.signal?.throwIfAborted()
    const result = await run(lost.signal)
    lost.signal.throwIfAborted()
    return result
  } finally {
    const broken = lost.signal.aborted || !(await unlock(client, name))
    client.removeListener('end', onLost)
    client.release(broken)
    client.removeListener('error', onLost)
  }
}

/** The 64-bit key of a lock's name, the same in every process. */
export function advisoryLockKey(name: string): string {
  return createHash('sha256').update(`quintet lock ${name}`).digest().readBigInt64BE(0).toString()
}

const leastConnectTime = 1_000

/** Takes a connection; one that comes after the time or the signal goes back. */
async function connect(
  pool: LockPool,
  name: string,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<PoolClient> {
  const connecting = pool.connect()
  const waited = new AbortController()
  const giveUp = pause(timeout, AbortSignal.any([waited.signal, ...(signal ? [signal] : [])])).then(() => {
    throw lockTimeout(name)
  })
  try {
    return await Promise.race([connecting, giveUp])
  } catch (error) {
    connecting.then(
      (late) => late.release(),
      () => undefined,
    )
    throw error
  } finally {
    giveUp.catch(() => undefined)
    waited.abort()
  }
}

async function acquire(
  client: PoolClient,
  name: string,
  end: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (;;) {
    signal?.throwIfAborted()
    if (await tryLock(client, name)) return
    const left = end - performance.now()
    if (left <= 0) throw lockTimeout(name)
    await pause(Math.min(left, 20 + Math.random() * 80), signal)
  }
}

async function tryLock(client: PoolClient, name: string): Promise<boolean> {
  const { rows } = await client.query<{ held: boolean }>('select pg_try_advisory_lock($1::bigint) as held', [
    advisoryLockKey(name),
  ])
  return rows[0]?.held === true
}

/** False when the connection must not be used again, since it may still hold the lock. */
async function unlock(client: PoolClient, name: string): Promise<boolean> {
  try {
    await client.query('select pg_advisory_unlock($1::bigint)', [advisoryLockKey(name)])
    return true
  } catch {
    return false
  }
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', aborted)
      resolve()
    }, milliseconds)
    signal?.addEventListener('abort', aborted, { once: true })
  })
}

function lockTimeout(name: string): RlsError {
  return new RlsError(`The lock "${name}" is held by another session.`, {
    code: 'ERR_RLS_LOCK_TIMEOUT',
    kind: 'timeout',
    details: { lock: name },
  })
}

function lockLost(name: string, cause: unknown): RlsError {
  return new RlsError(`The lock "${name}" was lost with its connection.`, {
    code: 'ERR_RLS_LOCK_LOST',
    kind: 'unavailable',
    details: { lock: name },
    cause,
  })
}
