import { isDeepStrictEqual } from 'node:util'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { QuintetError } from '../errors.ts'
import { createAnnouncements } from './announcements.ts'
import { resolveSettingsOptions, type SettingsOptions } from './options.ts'
import type { SettingsQuery } from './pool.ts'
import { createSettingValues, type SettingsTree } from './setting-values.ts'
import { createSettingsStore, type SettingChange, type StoredSettings } from './store.ts'

type Values<Schema extends StandardSchemaV1> = Readonly<StandardSchemaV1.InferOutput<Schema>>
type Inputs<Schema extends StandardSchemaV1> = StandardSchemaV1.InferInput<Schema>
type Key<Schema extends StandardSchemaV1> = keyof Values<Schema> & string

export interface ChangeOptions {
  /** Who makes the change, for the history. */
  readonly actor: string
  readonly reason?: string
  /** Change it only when it was last changed at this version (0: never). */
  readonly expectedVersion?: number
}

/** Settings that can change while everything runs: typed, stored in PostgreSQL, with a history. */
export interface Settings<Schema extends StandardSchemaV1> extends AsyncDisposable {
  /** What applies now. Before `loadAndApply` these are the defaults. */
  readonly values: Values<Schema>
  /** Counts the changes that have been applied. */
  readonly version: number
  get<Name extends Key<Schema>>(key: Name): Values<Schema>[Name]
  /**
   * Loads what is stored, applies it, and from now on follows every change.
   *
   * @throws QuintetError `ERR_CORE_SETTING_INVALID` when a stored value does not fit the schema any more.
   */
  loadAndApply(): Promise<void>
  /**
   * Stores a value and applies it here; every other process follows. Answers with its version.
   *
   * @throws QuintetError `ERR_CORE_SETTING_INVALID` with the schema's message; `ERR_CORE_SETTINGS_CONFLICT`.
   */
  setAndReload<Name extends Key<Schema> & keyof Inputs<Schema>>(
    key: Name,
    value: Inputs<Schema>[Name],
    options: ChangeOptions,
  ): Promise<number>
  /** As `setAndReload`, for a key and a value that come from outside, e.g. through an admin procedure. */
  change(key: string, value: unknown, options: ChangeOptions): Promise<number>
  /**
   * Gives a setting the value again that it had at a version (0: the default). A change like any other.
   *
   * @throws QuintetError `ERR_CORE_NOT_FOUND` when there is no such version yet.
   */
  rollback(key: string, version: number, options: ChangeOptions): Promise<number>
  /** The changes of a setting, the newest first. @param limit how many, 50 by default */
  history(key: string, limit?: number): Promise<readonly SettingChange[]>
  /** Calls back after each change of a setting, wherever it was made. */
  subscribe<Name extends Key<Schema>>(
    key: Name,
    onChange: (value: Values<Schema>[Name], previous: Values<Schema>[Name]) => void,
  ): Disposable
  /** Follows no changes any more. The pool and the connections stay their owner's. */
  close(): Promise<void>
}

/**
 * Makes the runtime settings of a process. Business rules and feature flags belong here; connection strings do not.
 *
 * @throws TypeError when an option makes no sense or a setting has no default.
 */
export function createSettings<Schema extends StandardSchemaV1>(
  options: SettingsOptions<Schema>,
): Settings<Schema> {
  return new RuntimeSettings<Schema>(options)
}

type Subscriber = (value: never, previous: never) => void

class RuntimeSettings<Schema extends StandardSchemaV1> implements Settings<Schema> {
  readonly #options: ReturnType<typeof resolveSettingsOptions>
  readonly #parser: ReturnType<typeof createSettingValues>
  readonly #store: ReturnType<typeof createSettingsStore>
  readonly #announcements: ReturnType<typeof createAnnouncements>
  readonly #subscribers = new Map<string, Set<Subscriber>>()
  #current: SettingsTree
  #version = 0
  #mark: string | undefined
  #timer: NodeJS.Timeout | undefined
  #reloading: Promise<void> | undefined
  #reloadAgain = false
  #closed = false
  #failing = false

  constructor(options: SettingsOptions<Schema>) {
    this.#options = resolveSettingsOptions(options)
    const { schema, pool, redis, namespace, logger } = this.#options
    this.#parser = createSettingValues(schema, 'createSettings.schema')
    this.#store = createSettingsStore(pool, namespace)
    this.#announcements = createAnnouncements(redis, namespace, logger)
    this.#current = this.#parser.defaults
  }

  get values(): Values<Schema> {
    return this.#current
  }

  get version(): number {
    return this.#version
  }

  get<Name extends Key<Schema>>(key: Name): Values<Schema>[Name] {
    return this.values[key]
  }

  async loadAndApply(): Promise<void> {
    this.#assertOpen()
    await this.#announcements.listen((version) => {
      // Also a lower one: after the restore of a backup the versions begin anew where it ended.
      if (version !== this.#version) void this.#follow()
    })
    await this.#reload()
    if (this.#timer === undefined && !this.#closed) this.#poll()
  }

  setAndReload<Name extends Key<Schema> & keyof Inputs<Schema>>(
    key: Name,
    value: Inputs<Schema>[Name],
    options: ChangeOptions,
  ): Promise<number> {
    return this.change(key, value, options)
  }

  change(key: string, value: unknown, options: ChangeOptions): Promise<number> {
    return this.#change(key, options, async () => {
      const text = JSON.stringify(value)
      // Undefined and functions are nothing in JSON; the schema shall see what it would get back from the store.
      return text === undefined ? null : (JSON.parse(text) as unknown)
    })
  }

  rollback(key: string, version: number, options: ChangeOptions): Promise<number> {
    return this.#change(key, options, async (current, query) => {
      if (!Number.isSafeInteger(version) || version < 0 || version >= current) {
        throw new QuintetError(`The settings have no version ${version} to go back to.`, {
          code: 'ERR_CORE_NOT_FOUND',
          kind: 'not-found',
        })
      }
      return await this.#store.valueAt(query, key, version)
    })
  }

  async history(key: string, limit = 50): Promise<readonly SettingChange[]> {
    this.#parser.assertKey(key)
    return await this.#store.history(key, limit)
  }

  subscribe<Name extends Key<Schema>>(
    key: Name,
    onChange: (value: Values<Schema>[Name], previous: Values<Schema>[Name]) => void,
  ): Disposable {
    this.#parser.assertKey(key)
    const subscribers = this.#subscribers.get(key) ?? new Set()
    this.#subscribers.set(key, subscribers)
    subscribers.add(onChange)
    return { [Symbol.dispose]: () => void subscribers.delete(onChange) }
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#announcements.close()
    await this.#reloading?.catch(() => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #change(
    key: string,
    { actor, reason, expectedVersion }: ChangeOptions,
    decide: (version: number, query: SettingsQuery) => Promise<unknown>,
  ): Promise<number> {
    this.#assertOpen()
    this.#parser.assertKey(key)
    if (typeof actor !== 'string' || actor === '') throw new TypeError('settings: a change needs an actor.')
    const version = await this.#store.change({
      key,
      actor,
      reason,
      expectedVersion,
      decide: async (stored, query) => {
        const value = await decide(stored.version, query)
        const next = new Map(stored.values)
        if (value === undefined) next.delete(key)
        else next.set(key, value)
        await this.#parser.parse(next)
        return value
      },
    })
    this.#options.logger.info({ key, version, actor, reason }, 'setting changed')
    await this.#announcements.announce(version)
    if (this.#version !== version) await this.#reload()
    return version
  }

  /** Loads and applies; one at a time, and once more when asked for meanwhile. */
  #reload(): Promise<void> {
    if (this.#reloading !== undefined) {
      this.#reloadAgain = true
      return this.#reloading
    }
    this.#reloading = this.#loadUntilFresh().finally(() => {
      this.#reloading = undefined
    })
    return this.#reloading
  }

  async #loadUntilFresh(): Promise<void> {
    do {
      this.#reloadAgain = false
      const stored = await this.#store.load()
      const next = await this.#parser.parse(stored.values)
      this.#apply(stored, next)
    } while (this.#reloadAgain)
  }

  #apply({ version, mark }: StoredSettings, next: SettingsTree): void {
    const previous = this.#current
    this.#current = next
    this.#version = version
    this.#mark = mark
    for (const [key, subscribers] of this.#subscribers) {
      if (isDeepStrictEqual(previous[key], next[key])) continue
      for (const onChange of subscribers) {
        try {
          onChange(next[key] as never, previous[key] as never)
        } catch (error) {
          this.#options.logger.error({ err: error, key }, 'a subscriber of a setting failed')
        }
      }
    }
  }

  /** Reloads in the background. What applied until now goes on applying when that fails. */
  async #follow(): Promise<void> {
    if (this.#closed) return
    try {
      await this.#reload()
      this.#failing = false
    } catch (error) {
      this.#complain(error)
    }
  }

  #poll(): void {
    this.#timer = setTimeout(() => void this.#look(), this.#options.pollInterval)
    // Looking for changes alone is no reason to keep a process alive.
    this.#timer.unref()
  }

  async #look(): Promise<void> {
    try {
      if ((await this.#store.mark()) !== this.#mark) await this.#reload()
      this.#failing = false
    } catch (error) {
      this.#complain(error)
    }
    if (!this.#closed) this.#poll()
  }

  /** Once per outage, not once per poll. */
  #complain(error: unknown): void {
    if (this.#failing || this.#closed) return
    this.#failing = true
    this.#options.logger.error(
      { err: error },
      'settings cannot be refreshed; the last good values go on applying',
    )
  }

  #assertOpen(): void {
    if (!this.#closed) return
    throw new QuintetError('The settings have been closed.', {
      code: 'ERR_CORE_STOPPING',
      kind: 'unavailable',
    })
  }
}
