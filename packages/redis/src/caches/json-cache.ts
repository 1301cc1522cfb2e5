import type { Duration, Logger } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { randomUUID } from 'node:crypto'
import { describeFailure, isRedisUnavailable } from '../errors.ts'
import { assertKey } from '../commands/key.ts'
import { parsed } from '../commands/parsed.ts'
import { createScript, prefixOption } from '../commands/script.ts'
import type { Script, ScriptClient } from '../commands/script.ts'
import { SharedLoads } from './shared-loads.ts'

/** What the cache needs of a client; ioredis's clients fit. */
export interface JsonCacheClient extends ScriptClient {
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
  /** How long a `load` may take; then its callers are told, its signal aborts, and the next call loads anew. @defaultValue `'30s'` */
  readonly loadTimeout?: Duration
  /** Checks what comes out of Redis; an entry for which it throws is a miss. */
  readonly parse?: (value: unknown) => T
  readonly logger?: Logger
}

/** Reads the value from where it really is. The signal aborts after `loadTimeout`. */
export type Load<T> = (signal: AbortSignal) => Promise<T | undefined>

/** Typed JSON values in Redis, as a help and never a need: while Redis is away everything is a miss. */
export interface JsonCache<T> {
  /** The value, fresh or stale; `undefined` when there is none. */
  get(key: string): Promise<T | undefined>
  /**
   * Stores the value; `undefined` stores its absence, or deletes. A failure of Redis is logged and not thrown.
   *
   * @throws TypeError for a value that JSON cannot express.
   */
  set(key: string, value: T): Promise<void>
  /**
   * Removes the value. What any process began to load before is not stored after it.
   *
   * @throws RedisError `ERR_REDIS_UNAVAILABLE`: the entry may live on, and the caller should know.
   */
  delete(key: string): Promise<void>
  /**
   * The value, or what `load` gives, which is then stored. Concurrent calls in this process share one load.
   * A stale value is returned at once and loaded anew in the background. `load` runs in the async context of the call that
   * starts it; when it ends because that caller has left, the others load anew.
   *
   * @throws RedisError `ERR_REDIS_LOAD_TIMEOUT` when `load` takes longer than `loadTimeout`.
   */
  getOrLoad(key: string, load: Load<T>): Promise<T | undefined>
}

export const jsonCacheDefaults: Readonly<{
  staleFor: Duration
  jitter: number
  negativeTtl: Duration
  loadTimeout: Duration
}> = Object.freeze({ staleFor: 0, jitter: 0.1, negativeTtl: 0, loadTimeout: '30s' })

const defaults = jsonCacheDefaults

const spec = {
  client: option.collaborator<JsonCacheClient>(
    ['evalsha', 'eval', 'get', 'pttl', 'set', 'del'],
    'a Redis client (ioredis)',
  ),
  prefix: prefixOption(),
  ttl: option.duration(undefined, { min: 1 }).map(Math.ceil),
  staleFor: option.duration(defaults.staleFor).map(Math.ceil),
  jitter: option.number(defaults.jitter, { min: 0, max: 0.999 }),
  negativeTtl: option.duration(defaults.negativeTtl).map(Math.ceil),
  loadTimeout: option.delay(defaults.loadTimeout, { min: 1 }).map(Math.ceil),
  parse: option.function<(value: unknown) => unknown>((value) => value),
  logger: option.logger(),
}

/** What the key of a value holds while it is loaded: no entry begins like this. */
const loadingMark = '?'

/**
 * What stands before the text of an entry and tells one write from another: a value that is written again is not the one
 * that was there before.
 */
const writeMark = /^[0-9a-f]{8}:/

function marked(text: string): string {
  return `${randomUUID().slice(0, 8)}:${text}`
}

/**
 * KEYS value; ARGV mark, its time to live, text that is no valid entry. Marks the key as being loaded, and
 * returns what it holds then: the mark, another process's mark, or a value that was stored meanwhile.
 */
const markLoading: Script = createScript(`
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[3] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
`)

/**
 * KEYS value; ARGV what it must hold, new text, time to live, which is 0 to delete it. Does nothing when it was written
 * or deleted meanwhile.
 */
const replaceHeld: Script = createScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
`)

/** What Redis holds of a key. */
interface Entry<T> {
  readonly text: string
  /** `undefined` when it is no valid value, or is just being loaded somewhere. */
  readonly found: { readonly value: T | undefined; readonly fresh: boolean } | undefined
}

/**
 * Makes a cache of JSON values with a time to live, single flight and, on request, stale values while loading.
 *
 * A load is stored only where the key still holds what it held when the load began, so a `set` or `delete` by any
 * process wins over a load that began before it.
 */
export function createJsonCache<T>(options: JsonCacheOptions<T>): JsonCache<T> {
  const { client, prefix, ttl, staleFor, jitter, negativeTtl, loadTimeout, parse, logger } =
    resolveOptions(options)
  const loads = new SharedLoads<T | undefined>(loadTimeout)
  const refreshes = new SharedLoads<T | undefined>(loadTimeout)

  /** Runs a command without which the cache can do: what Redis refuses is a fault of the operator, and a miss. */
  async function attempt<R>(key: string, what: string, command: () => Promise<R>): Promise<R | undefined> {
    try {
      return await command()
    } catch (error) {
      const level = isRedisUnavailable(error) ? 'debug' : 'warn'
      logger[level]({ key, reason: describeFailure(error) }, `the cache could not be ${what}`)
      return undefined
    }
  }

  async function read(key: string): Promise<Entry<T> | undefined> {
    const answers = await attempt(key, 'read', () =>
      Promise.all([client.get(prefix + key), staleFor === 0 ? Infinity : client.pttl(prefix + key)]),
    )
    const text = answers?.[0] ?? undefined
    return text === undefined ? undefined : toEntry(key, text, Number(answers![1]))
  }

  function toEntry(key: string, text: string, left: number): Entry<T> {
    if (text.startsWith(loadingMark)) return { text, found: undefined }
    try {
      if (!writeMark.test(text)) throw new SyntaxError('It was not written by a JSON cache.')
      const json = text.replace(writeMark, '')
      // An absence is never served stale.
      if (json === '') return { text, found: { value: undefined, fresh: true } }
      return { text, found: { value: parsed(parse, JSON.parse(json)), fresh: left > staleFor } }
    } catch (error) {
      logger.warn({ key, reason: describeFailure(error) }, 'a cache entry is not valid and counts as a miss')
      return { text, found: undefined }
    }
  }

  /** What is written; a life of 0 deletes. @throws TypeError for a value that JSON cannot express. */
  function toStored(value: T | undefined): readonly [text: string, life: number] {
    const life = value === undefined ? negativeTtl : ttl
    const shortened = Math.max(1, Math.round(life * (1 - Math.random() * jitter)))
    return value === undefined
      ? [marked(''), life && shortened]
      : [marked(toJson(value)), shortened + staleFor]
  }

  /** The same for a value that was loaded: it is given to its callers, whether it can be kept or not. */
  function toKept(key: string, value: T | undefined): readonly [text: string, life: number] {
    try {
      return toStored(value)
    } catch (error) {
      logger.warn({ key, reason: describeFailure(error) }, 'a loaded value cannot be cached')
      return ['', 0]
    }
  }

  /** Loads, and stores the result where the key still holds `held`; without it the result is not stored. */
  async function loadOver(key: string, load: Load<T>, held: string | undefined, signal: AbortSignal) {
    const value = await load(signal)
    const [text, life] = toKept(key, value)
    if (held !== undefined && !signal.aborted)
      await attempt(key, 'written', () => replaceHeld(client, [prefix + key], [held, text, life]))
    return value
  }

  async function loadMissing(key: string, load: Load<T>, invalid: string, signal: AbortSignal) {
    const mark = loadingMark + randomUUID()
    const held = await attempt(key, 'marked', () =>
      markLoading(client, [prefix + key], [mark, loadTimeout, invalid]),
    )
    const entry = typeof held === 'string' ? toEntry(key, held, Infinity) : undefined
    if (entry?.found !== undefined) return entry.found.value
    return loadOver(key, load, entry?.text, signal)
  }

  function refresh(key: string, load: Load<T>, stale: string): void {
    refreshes
      .join(key, (signal) => loadOver(key, load, stale, signal))
      .catch((error: unknown) => {
        logger.warn({ key, reason: describeFailure(error) }, 'a stale cache entry could not be loaded anew')
      })
  }

  function forget(key: string): void {
    loads.forget(key)
    refreshes.forget(key)
  }

  return {
    async get(key) {
      assertKey(key, 'get')
      return (await read(key))?.found?.value
    },
    async set(key, value) {
      assertKey(key, 'set')
      const [text, life] = toStored(value)
      forget(key)
      await attempt<unknown>(key, 'written', () =>
        life > 0 ? client.set(prefix + key, text, 'PX', life) : client.del(prefix + key),
      )
    },
    async delete(key) {
      assertKey(key, 'delete')
      forget(key)
      await client.del(prefix + key)
    },
    async getOrLoad(key, load) {
      assertKey(key, 'getOrLoad')
      return loads.join(key, async (signal) => {
        const entry = await read(key)
        if (entry?.found === undefined) {
          // Another load's mark is joined, and what is no entry at all is replaced.
          const invalid = entry === undefined || entry.text.startsWith(loadingMark) ? loadingMark : entry.text
          return loadMissing(key, load, invalid, signal)
        }
        if (!entry.found.fresh) refresh(key, load, entry.text)
        return entry.found.value
      })
    },
  }
}

/** @throws TypeError for a value that JSON cannot express. */
function toJson(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined
  if (text === undefined) throw new TypeError(`JSON cannot express a ${typeof value}.`)
  return text
}

function resolveOptions<T>(options: JsonCacheOptions<T>) {
  const read = readOptions<JsonCacheOptions<T>, typeof spec>(options, spec, 'createJsonCache')
  return { ...read, parse: read.parse as (value: unknown) => T }
}
