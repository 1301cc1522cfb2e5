import { type Duration, type Logger, silentLogger } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { describeFailure, isRedisUnavailable } from './errors.ts'

/** What the cache needs of a client; ioredis's clients fit. */
export interface JsonCacheClient {
  get(key: string): Promise<string | null>
  pttl(key: string): Promise<number>
  set(key: string, value: string, px: 'PX', milliseconds: number): Promise<unknown>
  del(key: string): Promise<number>
}

export interface JsonCacheOptions<T> {
  readonly client: JsonCacheClient
  /** Put before every key. */
  readonly prefix: string
  /** How long a value is fresh. */
  readonly ttl: Duration
  /** How much longer a value is served while a new one is being loaded. @defaultValue `0` */
  readonly staleFor?: Duration
  /** Each time to live is made shorter by a random part of up to this share, so that entries do not end together. @defaultValue `0.1` */
  readonly jitter?: number
  /** How long the absence of a value (`load` gave `undefined`) is kept; 0 keeps none. @defaultValue `0` */
  readonly negativeTtl?: Duration
  /** Checks what comes out of Redis; an entry for which it throws is a miss. */
  readonly parse?: (value: unknown) => T
  readonly logger?: Logger
}

/** Typed JSON values in Redis, as a help and never a need: while Redis is away everything is a miss. */
export interface JsonCache<T> {
  /** The value, fresh or stale; `undefined` when there is none. */
  get(key: string): Promise<T | undefined>
  /** Stores the value. A failure is logged and not thrown. */
  set(key: string, value: T): Promise<void>
  /** @throws RedisError `ERR_REDIS_UNAVAILABLE`: the entry may live on, and the caller should know. */
  delete(key: string): Promise<void>
  /**
   * The value, or what `load` gives, which is then stored. Concurrent calls in this process share one load.
   * A stale value is returned at once and loaded anew in the background.
   */
  getOrLoad(key: string, load: () => Promise<T | undefined>): Promise<T | undefined>
}

export const jsonCacheDefaults: Readonly<{ staleFor: Duration; jitter: number; negativeTtl: Duration }> =
  Object.freeze({
    staleFor: 0,
    jitter: 0.1,
    negativeTtl: 0,
  })

const knownKeys = ['client', 'prefix', 'ttl', 'staleFor', 'jitter', 'negativeTtl', 'parse', 'logger']

interface Entry<T> {
  /** `undefined` when the absence of a value was kept. */
  readonly value: T | undefined
  readonly fresh: boolean
}

/** One load of one key, shared by everybody who asks meanwhile. */
interface Flight<T> {
  readonly promise: Promise<T | undefined>
}

/** Keeps at most one flight per key. */
class Flights<T> {
  readonly #byKey = new Map<string, Flight<T>>()

  /** Joins the flight of the key or starts one. `isCurrent` turns false when the key is forgotten meanwhile. */
  join(key: string, start: (isCurrent: () => boolean) => Promise<T | undefined>): Promise<T | undefined> {
    const running = this.#byKey.get(key)
    if (running !== undefined) return running.promise
    const { promise, resolve } = Promise.withResolvers<T | undefined>()
    const flight: Flight<T> = { promise }
    this.#byKey.set(key, flight)
    const isCurrent = (): boolean => this.#byKey.get(key) === flight
    resolve(
      start(isCurrent).finally(() => {
        if (isCurrent()) this.#byKey.delete(key)
      }),
    )
    return promise
  }

  forget(key: string): void {
    this.#byKey.delete(key)
  }
}

/** Makes a cache of JSON values with a time to live, single flight and, on request, stale values while loading. */
export function createJsonCache<T>(options: JsonCacheOptions<T>): JsonCache<T> {
  const { client, prefix, ttl, staleFor, jitter, negativeTtl, parse, logger } = resolveOptions(options)
  const flights = new Flights<T>()
  const refreshes = new Flights<T>()

  async function read(key: string): Promise<Entry<T> | undefined> {
    let text: string | null
    let left: number
    try {
      ;[text, left] = await Promise.all([
        client.get(prefix + key),
        staleFor === 0 ? Infinity : client.pttl(prefix + key),
      ])
    } catch (error) {
      if (!isRedisUnavailable(error)) throw error
      logger.debug({ key, reason: describeFailure(error) }, 'the cache could not be read')
      return undefined
    }
    if (text === null) return undefined
    // An absence is never served stale.
    if (text === '') return { value: undefined, fresh: true }
    try {
      return { value: parse(JSON.parse(text)), fresh: left > staleFor }
    } catch (error) {
      logger.warn({ key, reason: describeFailure(error) }, 'a cache entry is not valid and counts as a miss')
      return undefined
    }
  }

  async function write(key: string, value: T | undefined): Promise<void> {
    const life = value === undefined ? negativeTtl : ttl
    if (life === 0) return
    const text = value === undefined ? '' : JSON.stringify(value)
    const shortened = Math.max(1, Math.round(life * (1 - Math.random() * jitter)))
    try {
      await client.set(prefix + key, text, 'PX', value === undefined ? shortened : shortened + staleFor)
    } catch (error) {
      if (!isRedisUnavailable(error)) throw error
      logger.debug({ key, reason: describeFailure(error) }, 'the cache could not be written')
    }
  }

  async function loadAndWrite(
    key: string,
    load: () => Promise<T | undefined>,
    isCurrent: () => boolean,
  ): Promise<T | undefined> {
    const value = await load()
    // After a delete, what was loaded before it may be what was deleted.
    if (isCurrent()) await write(key, value)
    return value
  }

  function refresh(key: string, load: () => Promise<T | undefined>): void {
    refreshes
      .join(key, (isCurrent) => loadAndWrite(key, load, isCurrent))
      .catch((error: unknown) => {
        logger.warn({ key, reason: describeFailure(error) }, 'a stale cache entry could not be loaded anew')
      })
  }

  function forget(key: string): void {
    flights.forget(key)
    refreshes.forget(key)
  }

  return {
    async get(key) {
      return (await read(key))?.value
    },
    async set(key, value) {
      forget(key)
      await write(key, value)
    },
    async delete(key) {
      forget(key)
      await client.del(prefix + key)
    },
    getOrLoad: (key, load) =>
      flights.join(key, async (isCurrent) => {
        const entry = await read(key)
        if (entry === undefined) return loadAndWrite(key, load, isCurrent)
        if (!entry.fresh) refresh(key, load)
        return entry.value
      }),
  }
}

function resolveOptions<T>(options: JsonCacheOptions<T>) {
  refuseUnknownKeys(options, knownKeys, 'createJsonCache')
  const jitter = options.jitter ?? jsonCacheDefaults.jitter
  if (!(jitter >= 0 && jitter < 1))
    throw new TypeError(`createJsonCache.jitter: ${jitter} is not a share from 0 up to 1.`)
  const ttl = parseDuration(options.ttl, 'createJsonCache.ttl')
  if (ttl < 1) throw new TypeError('createJsonCache.ttl: at least 1 ms is needed.')
  return {
    client: options.client,
    prefix: options.prefix,
    ttl,
    staleFor: parseDuration(options.staleFor ?? jsonCacheDefaults.staleFor, 'createJsonCache.staleFor'),
    jitter,
    negativeTtl: parseDuration(
      options.negativeTtl ?? jsonCacheDefaults.negativeTtl,
      'createJsonCache.negativeTtl',
    ),
    parse: options.parse ?? ((value: unknown) => value as T),
    logger: options.logger ?? silentLogger,
  }
}
