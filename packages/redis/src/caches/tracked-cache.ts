import { AsyncLocalStorage } from 'node:async_hooks'
import type { Duration, Logger } from '@quintet/core'
import { type Clock, option, readOptions } from '@quintet/core/kit'
import type { Redis } from 'ioredis'
import { RedisError } from '../errors.ts'
import { openInvalidationStream } from './invalidation-stream.ts'
import { SecondChanceMap } from '../second-chance-map.ts'
import { SharedLoads, withinTime } from './shared-loads.ts'

export interface TrackedCacheOptions<T> {
  /** The client that `load` reads with. The cache makes one connection of its own like it, and leaves it to its owner. */
  readonly client: Redis
  /** What the keys begin with. Every process hears of every write under it, so keep it narrow. */
  readonly prefix: string
  /** Reads one key, from the same server. Its answer is kept until the key is written; `undefined` is not kept. */
  load(key: string): Promise<T>
  /** How long a `load` may take; then its callers are told, and the next call loads anew. @defaultValue `'30s'` */
  readonly loadTimeout?: Duration
  /** @defaultValue `10_000` */
  readonly maxEntries?: number
  /** The longest time for which an entry can be served after its key was written. @defaultValue `'1s'` */
  readonly lease?: Duration
  readonly clock?: Clock
  readonly logger?: Logger
}

/** A cache in memory that Redis keeps true: a write by anybody removes the entry here, usually within a millisecond. */
export interface TrackedCache<T> extends AsyncDisposable {
  /**
   * From memory, or loaded. Concurrent calls for a key that is not held share one load, which runs in the async context of
   * the first; when it ends because that caller has left, the others load anew. Errors of `load` pass through.
   *
   * @throws RedisError `ERR_REDIS_LOAD_TIMEOUT` when `load` takes longer than `loadTimeout`.
   * @throws TypeError for a key that does not begin with the prefix: its writes are not heard.
   */
  get(key: string): Promise<T>
  /** From memory alone; `undefined` when the key is not held, or when the cache cannot be trusted now. */
  peek(key: string): T | undefined
  /**
   * Calls back for each key that was written under the prefix, whether it is held here or not, and with `null`
   * when any of them may have been. It runs in the async context (`AsyncLocalStorage`) of this call.
   */
  onInvalidate(listener: (key: string | null) => unknown): Disposable
  /** False while invalidations may be missed; every `get` then loads. */
  readonly trusted: boolean
  /** Resolves once the cache is trusted; rejects when the signal aborts. @throws RedisError `ERR_REDIS_CLOSED` */
  whenTrusted(signal?: AbortSignal): Promise<void>
  readonly size: number
  /** Ends the connection. `get` goes on loading, without keeping. Idempotent. */
  close(): Promise<void>
}

export const trackedCacheDefaults: Readonly<{
  loadTimeout: Duration
  maxEntries: number
  lease: Duration
}> = Object.freeze({
  loadTimeout: '30s',
  maxEntries: 10_000,
  lease: '1s',
})

const spec = {
  client: option.collaborator<Redis>(['duplicate', 'on'], 'a Redis client (ioredis)'),
  prefix: option.text(undefined, {
    pattern: /^[^]+$/,
    expected: 'what the keys begin with; without it every write would be heard',
  }),
  load: option.function<(key: string) => Promise<unknown>>(),
  loadTimeout: option.delay(trackedCacheDefaults.loadTimeout, { min: 1 }),
  maxEntries: option.count(trackedCacheDefaults.maxEntries, { min: 1 }),
  lease: option.delay(trackedCacheDefaults.lease, { min: 20 }),
  clock: option.clock(),
  logger: option.logger(),
}

/**
 * Makes a cache that is kept true by `CLIENT TRACKING … BCAST`.
 *
 * - A load is known from before a read is sent until its answer has come; a write in between has it forgotten, and
 *   the answer is then given to its callers but not kept.
 * - The server is pinged four times per lease. When it has not answered within the lease, counted from the sending
 *   of the ping, nothing is served from memory: a half-open connection is stale for at most the lease.
 * - The cache is emptied when the connection ends, when the client's own one does, when the lease lapses and when a
 *   database is flushed.
 *
 * Invalidations carry no database number: a write to a key of the same name in another database counts as well.
 * Redis reports an expired key when it removes it, which can be later than its expiry; compare times of your own.
 *
 * @throws TypeError for options that are wrong, and for a cluster, whose invalidations come from many servers.
 * @see https://redis.io/docs/latest/develop/reference/client-side-caching/
 */
export function createTrackedCache<T>(options: TrackedCacheOptions<T>): TrackedCache<T> {
  const { client, load, loadTimeout, logger, maxEntries, lease, clock, prefix } = resolve(options)
  const keyPrefix = client.options.keyPrefix ?? ''
  const entries = new SecondChanceMap<string, T>(maxEntries)
  const loads = new SharedLoads<T>(loadTimeout)
  const listeners = new Set<(key: string | null) => Promise<void>>()
  const waiting = new Set<PromiseWithResolvers<void>>()
  let closed = false

  const stream = openInvalidationStream({
    client,
    prefix: keyPrefix + prefix,
    lease,
    clock,
    logger,
    onKeys(keys) {
      for (const serverKey of keys) {
        const key = serverKey.slice(keyPrefix.length)
        entries.delete(key)
        loads.forget(key)
        tell(key)
      }
    },
    onDoubt() {
      entries.clear()
      loads.forgetAll()
      tell(null)
    },
    onTrust() {
      for (const { resolve: resume } of waiting) resume()
    },
  })

  function tell(key: string | null): void {
    for (const listener of listeners) void listener(key)
  }

  async function loadAndKeep(key: string, isCurrent: () => boolean): Promise<T> {
    const value = await load(key)
    if (isCurrent() && value !== undefined && stream.trusted()) entries.set(key, value)
    return value
  }

  const loadAlone = (key: string): Promise<T> => withinTime(async () => load(key), loadTimeout, key)

  /** @throws TypeError for a key whose writes would not be heard. */
  function assertTracked(key: string): void {
    if (typeof key !== 'string' || !key.startsWith(prefix))
      throw new TypeError(
        `createTrackedCache: the key ${JSON.stringify(key)} does not begin with the prefix ${JSON.stringify(prefix)}. Give whole keys.`,
      )
  }

  return {
    async get(key) {
      assertTracked(key)
      if (!stream.trusted()) return loadAlone(key)
      // Half a surrogate pair is sent as U+FFFD, and its writes are told of as such.
      if (!key.isWellFormed()) return loadAlone(key)
      const held = entries.get(key)
      if (held !== undefined) return held
      return loads.join(key, (_signal, isCurrent) => loadAndKeep(key, isCurrent))
    },
    peek(key) {
      assertTracked(key)
      return stream.trusted() ? entries.get(key) : undefined
    },
    onInvalidate(listener) {
      // A function of its own, so that the same one may listen twice; in the async context of this call.
      const own = AsyncLocalStorage.bind(async (key: string | null) => {
        try {
          await listener(key)
        } catch (error) {
          logger.error({ err: error }, 'a listener of a tracked cache failed')
        }
      })
      listeners.add(own)
      return { [Symbol.dispose]: () => void listeners.delete(own) }
    },
    get trusted() {
      return stream.trusted()
    },
    async whenTrusted(signal) {
      signal?.throwIfAborted()
      if (closed) throw cacheClosed()
      if (stream.trusted()) return
      const trust = Promise.withResolvers<void>()
      const abort = (): void => trust.reject(signal?.reason)
      waiting.add(trust)
      signal?.addEventListener('abort', abort, { once: true })
      try {
        await trust.promise
      } finally {
        waiting.delete(trust)
        signal?.removeEventListener('abort', abort)
      }
    },
    get size() {
      return entries.size
    },
    async close() {
      closed = true
      for (const { reject } of waiting) reject(cacheClosed())
      await stream.close()
      entries.clear()
    },
    async [Symbol.asyncDispose]() {
      await this.close()
    },
  }
}

function cacheClosed(): RedisError {
  return new RedisError('ERR_REDIS_CLOSED', 'The tracked cache is closed.')
}

function resolve<T>(options: TrackedCacheOptions<T>) {
  const read = readOptions<TrackedCacheOptions<T>, typeof spec>(options, spec, 'createTrackedCache', {
    check({ client }, note) {
      if (client.isCluster) note('client', 'a cluster cannot be tracked. Read it directly.')
    },
  })
  // Called on the options, as whoever wrote a method expects.
  return { ...read, load: (key: string) => options.load(key) }
}
