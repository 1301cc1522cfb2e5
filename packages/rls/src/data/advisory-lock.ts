import { createHash } from 'node:crypto'
import type { Duration } from '@quintet/core'
import { delay, option, readOptions, type ResolvedOptions } from '@quintet/core/kit'
import { RlsError } from '../errors.ts'
import { LockSessionLost, tryAdvisoryLock, type HeldLock, type LockPool } from './lock-session.ts'
import { watchLock } from './watch-lock.ts'

export type { LockPool } from './lock-session.ts'

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
 * All locks that a process takes from one pool live on one connection of it, for as long as one of them is held or waited
 * for. When that connection is lost, so are the locks: the signal aborts with `ERR_RLS_LOCK_LOST`, and so does the call
 * once the function has ended. A connection that is lost without a word is found by the heartbeat; another session may
 * hold the lock until then.
 *
 * @throws TypeError for a pool with a context, RlsError `ERR_RLS_LOCK_TIMEOUT` when the lock is held elsewhere for longer
 * than the timeout, `ERR_RLS_DATABASE_UNAVAILABLE` when the database does not answer within it.
 */
export async function withAdvisoryLock<Result>(
  pool: LockPool,
  name: string,
  run: (signal: AbortSignal) => Promise<Result>,
  options: AdvisoryLockOptions = {},
): Promise<Result> {
  const times = readOptions<AdvisoryLockOptions, typeof spec>(options, spec, 'withAdvisoryLock')
  const { signal, heartbeat } = times
  if ('withContext' in pool) {
    throw new TypeError('withAdvisoryLock: a lock belongs to no tenant. Give a pool of pg, e.g. systemPool.')
  }
  signal?.throwIfAborted()
  const lost = new AbortController()
  const onLost = (cause?: unknown): void => lost.abort(lockLost(name, cause))
  const lock = await acquire(pool, name, times, onLost)
  const watch = watchLock(lock.client, advisoryLockKey(name), heartbeat, onLost)
  try {
    lost.signal.throwIfAborted()
    signal?.throwIfAborted()
    const result = await run(lost.signal)
    lost.signal.throwIfAborted()
    return result
  } finally {
    await watch.stop()
    await lock.release(heartbeat)
  }
}

/** The 64-bit key of a lock's name, the same in every process. */
export function advisoryLockKey(name: string): string {
  return createHash('sha256').update(`quintet lock ${name}`).digest().readBigInt64BE(0).toString()
}

/** Milliseconds that a connection or an answer is waited for at least, also by a lock that is asked for once. */
const leastAnswerTime = 1_000

type LockTimes = ResolvedOptions<typeof spec>

async function acquire(
  pool: LockPool,
  name: string,
  { timeout, signal, heartbeat }: LockTimes,
  onLost: (cause: unknown) => void,
): Promise<HeldLock> {
  const end = performance.now() + timeout
  for (;;) {
    const left = end - performance.now()
    const connectLimit = Math.max(left, leastAnswerTime)
    const answerLimit = Math.max(Math.min(left, heartbeat), leastAnswerTime)
    const attempt = { connectLimit, answerLimit, signal, onLost }
    try {
      const lock = await tryAdvisoryLock(pool, advisoryLockKey(name), attempt)
      if (lock !== undefined) return lock
      if (left <= 0) throw lockTimeout(name)
    } catch (error) {
      // Another one's loss: the next connection may serve.
      if (!(error instanceof LockSessionLost) || left <= 0) throw error
    }
    signal?.throwIfAborted()
    await delay(Math.min(left, 20 + Math.random() * 80), signal)
  }
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
