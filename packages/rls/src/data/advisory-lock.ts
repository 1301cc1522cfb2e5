import { createHash } from 'node:crypto'
import type { Duration } from '@quintet/core'
import { option, readOptions, type ResolvedOptions } from '@quintet/core/kit'
import type { PoolClient } from 'pg'
import { RlsError } from '../errors.ts'
import { answerWithin, connectWithin } from '../sql/answer-within.ts'
import { watchLock } from './watch-lock.ts'

/** Where a lock takes its connection from: a pg pool, or one of ours. Not through a PgBouncer in transaction mode. */
export interface LockPool {
  connect(): Promise<PoolClient>
}

export interface AdvisoryLockOptions {
  /** How long to wait for the lock, and a second at least for a connection; 0 asks once. @defaultValue `'30s'` */
  readonly timeout?: Duration
  /** Gives the waiting up. */
  readonly signal?: AbortSignal
  /**
   * How often the connection is asked whether it still holds the lock, and how long its answer may take. A lock whose
   * connection goes silent is lost within twice this time.
   * @defaultValue `'5s'`
   */
  readonly heartbeat?: Duration
}

export const advisoryLockDefaults = Object.freeze({ timeout: '30s', heartbeat: '5s' } as const)

const spec = {
  timeout: option.delay(advisoryLockDefaults.timeout),
  signal: option.signal(),
  heartbeat: option.delay(advisoryLockDefaults.heartbeat, { min: 10 }),
}

/**
 * Runs the function while this process holds the lock of that name in the database.
 *
 * The lock lives on one connection for as long as the function runs. When that connection is lost, so is
 * the lock: the signal aborts with `ERR_RLS_LOCK_LOST`, and so does the call once the function has ended. A connection
 * that is lost without a word is found by the heartbeat; another session may hold it until then.
 *
 * @throws RlsError `ERR_RLS_LOCK_TIMEOUT` when another session holds it for longer than the timeout,
 * `ERR_RLS_DATABASE_UNAVAILABLE` when the database does not answer within it.
 */
export async function withAdvisoryLock<Result>(
  pool: LockPool,
  name: string,
  run: (signal: AbortSignal) => Promise<Result>,
  options: AdvisoryLockOptions = {},
): Promise<Result> {
  const times = readOptions<AdvisoryLockOptions, typeof spec>(options, spec, 'withAdvisoryLock')
  const { timeout, signal, heartbeat } = times
  signal?.throwIfAborted()
  const end = performance.now() + timeout
  const client = await connectWithin(pool, Math.max(timeout, leastAnswerTime), signal)
  const lost = new AbortController()
  const onLost = (cause?: unknown): void => lost.abort(lockLost(name, cause))
  client.on('error', onLost)
  client.on('end', onLost)
  let broken = true
  try {
    if (!(await acquire(client, name, end, times))) {
      broken = false
      throw lockTimeout(name)
    }
    const watch = watchLock(client, advisoryLockKey(name), heartbeat, onLost)
    try {
      lost.signal.throwIfAborted()
      signal?.throwIfAborted()
      const result = await run(lost.signal)
      lost.signal.throwIfAborted()
      return result
    } finally {
      await watch.stop()
      broken = lost.signal.aborted || !(await unlock(client, name, heartbeat))
    }
  } finally {
    client.removeListener('end', onLost)
    client.release(broken)
    client.removeListener('error', onLost)
  }
}

/** The 64-bit key of a lock's name, the same in every process. */
export function advisoryLockKey(name: string): string {
  return createHash('sha256').update(`quintet lock ${name}`).digest().readBigInt64BE(0).toString()
}

/** Milliseconds that a connection or an answer is waited for at least, also by a lock that is asked for once. */
const leastAnswerTime = 1_000

type LockTimes = ResolvedOptions<typeof spec>

/** False when the lock was not free until the end of the time. */
async function acquire(
  client: PoolClient,
  name: string,
  end: number,
  { signal, heartbeat }: LockTimes,
): Promise<boolean> {
  for (;;) {
    const left = end - performance.now()
    const limit = Math.max(Math.min(left, heartbeat), leastAnswerTime)
    if (await answerWithin(client, limit, () => tryLock(client, name), signal)) return true
    if (left <= 0) return false
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
async function unlock(client: PoolClient, name: string, limit: number): Promise<boolean> {
  const ask = (): Promise<unknown> =>
    client.query('select pg_advisory_unlock($1::bigint)', [advisoryLockKey(name)])
  return answerWithin(client, limit, ask).then(
    () => true,
    () => false,
  )
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
