import { randomUUID } from 'node:crypto'
import type { Duration, Logger } from '@quintet/core'
import { type Clock, delay, option, readOptions } from '@quintet/core/kit'
import { bounded, shortestAnswer } from '../commands/bounded.ts'
import { RedisError } from '../errors.ts'
import { holdLock, lost } from './held-lock.ts'
import type { Lock } from './held-lock.ts'
import { acquireLock, releaseLock } from './lock-scripts.ts'
import { assertKey } from '../commands/key.ts'
import { prefixOption, scriptClientOption, type ScriptClient } from '../commands/script.ts'

export interface LocksOptions {
  readonly client: ScriptClient
  /** Put before every key. @defaultValue `'lk:'` */
  readonly prefix?: string
  /** How long a lock outlives a holder that died. Renewed three times in it. @defaultValue `'10s'` */
  readonly ttl?: Duration
  /** Average pause between two attempts of {@link Locks.acquire}. @defaultValue `100` */
  readonly retryInterval?: Duration
  readonly clock?: Clock
  readonly logger?: Logger
}

export interface AcquireOptions {
  /** Replaces {@link LocksOptions.ttl}. */
  readonly ttl?: Duration
  /** How long to wait for a lock that is held. @defaultValue `'10s'` */
  readonly wait?: Duration
  /** Ends the waiting. */
  readonly signal?: AbortSignal
}

/** Mutual exclusion between processes, with fencing tokens. */
export interface Locks {
  /**
   * Waits for the lock.
   *
   * @throws RedisError `ERR_REDIS_LOCK_HELD` when it is still held after `wait`, `ERR_REDIS_UNAVAILABLE` when Redis is away.
   */
  acquire(name: string, options?: AcquireOptions): Promise<Lock>
  /** Tries once; `undefined` when it is held. */
  tryAcquire(name: string, options?: Pick<AcquireOptions, 'ttl'>): Promise<Lock | undefined>
  /** Runs under the lock and releases it. Rejects with `ERR_REDIS_LOCK_LOST` when the lock was lost meanwhile. */
  run<T>(name: string, work: (lock: Lock) => Promise<T>, options?: AcquireOptions): Promise<T>
}

export const locksDefaults: Readonly<{
  prefix: string
  ttl: Duration
  retryInterval: Duration
  wait: Duration
}> = Object.freeze({ prefix: 'lk:', ttl: '10s', retryInterval: 100, wait: '10s' })

/** A shorter one could not be renewed in time. */
const ttlOption = option.delay(undefined, { min: 50 }).map(Math.round)

const spec = {
  client: scriptClientOption(),
  prefix: prefixOption(locksDefaults.prefix),
  ttl: option.delay(locksDefaults.ttl, { min: 50 }).map(Math.round),
  retryInterval: option.delay(locksDefaults.retryInterval),
  clock: option.clock(),
  logger: option.logger(),
}

const tryAcquireSpec = { ttl: ttlOption.optional() }

const acquireSpec = {
  ...tryAcquireSpec,
  wait: option.duration(locksDefaults.wait),
  signal: option.signal(),
}

/**
 * Makes locks on one Redis server: `SET NX PX` with an owner, renewal, release only by the owner, and a counter whose
 * values grow even when Redis has lost its data, as long as its clock does not go backwards.
 *
 * A lock in Redis is a lease, not a proof: check {@link Lock.fencingToken} where it matters.
 */
export function createLocks(options: LocksOptions): Locks {
  const {
    client,
    prefix,
    ttl: defaultTtl,
    retryInterval,
    clock,
    logger,
  } = readOptions<LocksOptions, typeof spec>(options, spec, 'createLocks')

  /** Waits for an answer for so long at most, and until the signal aborts. */
  async function take(
    name: string,
    ttl: number,
    limit: number,
    signal?: AbortSignal,
  ): Promise<Lock | undefined> {
    const keys = keysOf(prefix, name)
    const owner = randomUUID()
    const sent = clock.monotonic()
    let token: unknown
    try {
      token = await bounded(acquireLock(client, keys, [owner, ttl]), limit, signal)
    } catch (error) {
      // It may have been taken although the answer was lost. This is not awaited: without it the lock just expires.
      releaseLock(client, keys.slice(0, 1), [owner]).catch(() => undefined)
      throw error
    }
    if (token === null) return undefined
    return holdLock({ client, keys, name, owner, ttl, clock, logger, sent, fencingToken: Number(token) })
  }

  async function acquire(name: string, acquireOptions: AcquireOptions = {}): Promise<Lock> {
    const {
      ttl = defaultTtl,
      wait,
      signal,
    } = readOptions<AcquireOptions, typeof acquireSpec>(acquireOptions, acquireSpec, 'acquire')
    const end = clock.monotonic() + wait
    for (;;) {
      signal?.throwIfAborted()
      // One attempt at least gets an answer, also with no time to wait for the holder.
      const patience = Math.min(ttl, Math.max(end - clock.monotonic(), shortestAnswer))
      const lock = await take(name, ttl, patience, signal)
      if (lock !== undefined) {
        if (signal?.aborted) {
          await lock.release()
          throw signal.reason
        }
        return lock
      }
      const left = end - clock.monotonic()
      if (left <= 0)
        throw new RedisError('ERR_REDIS_LOCK_HELD', `The lock "${name}" is held by another owner.`, {
          retryAfter: ttl,
        })
      await delay(Math.min(left, retryInterval * (0.5 + Math.random())), signal)
    }
  }

  return {
    acquire,
    async tryAcquire(name, acquireOptions = {}) {
      const { ttl = defaultTtl } = readOptions<Pick<AcquireOptions, 'ttl'>, typeof tryAcquireSpec>(
        acquireOptions,
        tryAcquireSpec,
        'tryAcquire',
      )
      return take(name, ttl, ttl)
    },
    async run<T>(name: string, work: (lock: Lock) => Promise<T>, acquireOptions?: AcquireOptions) {
      const lock = await acquire(name, acquireOptions)
      let result: T
      try {
        result = await work(lock)
      } catch (error) {
        await lock.release()
        throw error
      }
      // A result that was made without the lock is not one.
      if (!(await lock.release())) throw lost(name)
      return result
    },
  }
}

/** The lock and its counter, in one slot of a cluster. */
function keysOf(prefix: string, name: string): string[] {
  assertKey(name, 'acquire')
  const tag = `${prefix}{${name.replaceAll(/[%{}]/g, encodeURIComponent)}}`
  return [tag, `${tag}:token`]
}
