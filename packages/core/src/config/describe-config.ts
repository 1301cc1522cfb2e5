import type { LoadedConfig } from './load-config.ts'
import { redact } from './redact.ts'

/** One value of a configuration, as `quintet config` prints it. */
export interface ConfigEntry {
  /** `database.url` */
  readonly path: string
  /** The value, with secrets left out; plain data. */
  readonly value: unknown
  /** The label of its source, or `default` for what the schema filled in. */
  readonly origin: string
}

/** Every value of a configuration with where it came from, sorted by path. Secrets are not shown. */
export function describeConfig(config: LoadedConfig<unknown>): readonly ConfigEntry[] {
  const entries: ConfigEntry[] = []
  collect(config.value, [], config.origins, entries)
  return entries.toSorted((a, b) => (a.path < b.path ? -1 : 1))
}

function collect(
  value: unknown,
  path: readonly string[],
  origins: ReadonlyMap<string, string>,
  into: ConfigEntry[],
): void {
  if (isPlainObject(value)) {
    for (const [key, member] of Object.entries(value)) collect(member, [...path, key], origins, into)
    return
  }
  const name = path.join('.')
  into.push({ path: name, value: show(path, value), origin: origins.get(name) ?? 'default' })
}

function show(path: readonly string[], value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => show(path, item))
  if (isPlainObject(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, member]) => [key, show([...path, key], member)]),
    )
  }
  const shown = redact(path, value)
  return typeof shown === 'bigint' || shown instanceof Date ? String(shown) : shown
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
