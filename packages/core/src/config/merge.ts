import { describeUnknownKey } from '../options/known-keys.ts'
import type { SchemaShape } from './schema-shape.ts'
import type { ConfigSource, ConfigTree } from './source.ts'

/** The sources laid over one another, and where each value came from. */
export interface MergedConfig {
  readonly tree: ConfigTree
  /** The label of the source by path, e.g. `database.url`. Only for values, not for the objects around them. */
  readonly origins: Map<string, string>
  readonly problems: ConfigProblem[]
}

/** One thing that is wrong with a configuration. */
export interface ConfigProblem {
  /** `database.url`; empty for a whole source. */
  readonly path: string
  readonly message: string
  /** The label of the source that the value came from, if it came from one. */
  readonly source: string | undefined
}

interface MutableTree {
  [key: string]: unknown
}

/** Starts an empty configuration. */
export function emptyConfig(): MergedConfig {
  return { tree: Object.create(null) as ConfigTree, origins: new Map(), problems: [] }
}

/**
 * Lays one source over what is there, key by key; lists are replaced as a whole. Texts become what the schema wants,
 * and keys that it does not know are noted as problems and left out.
 */
export function mergeSource(
  into: MergedConfig,
  source: ConfigSource,
  values: ConfigTree,
  shape: SchemaShape,
): void {
  mergeTree(into, source, values, into.tree, shape, [])
}

function mergeTree(
  into: MergedConfig,
  source: ConfigSource,
  from: ConfigTree,
  to: MutableTree,
  shape: SchemaShape,
  path: readonly string[],
): void {
  for (const [key, value] of Object.entries(from)) {
    const here = [...path, key]
    if (shape.keys !== undefined && !shape.keys.includes(key)) {
      into.problems.push({
        path: path.join('.'),
        message: describeUnknownKey(key, shape.keys, ''),
        source: source.label,
      })
      continue
    }
    const member = shape.member(key)
    if (isTree(value)) {
      const below = isTree(to[key]) ? to[key] : (Object.create(null) as MutableTree)
      if (below !== to[key]) forget(into.origins, here)
      to[key] = below
      mergeTree(into, source, value, below, member, here)
    } else {
      forget(into.origins, here)
      to[key] = source.values === 'text' && typeof value === 'string' ? member.coerce(value) : value
      into.origins.set(here.join('.'), source.label)
    }
  }
}

/** A value that is replaced takes the origins of everything below it along. */
function forget(origins: Map<string, string>, path: readonly string[]): void {
  const name = path.join('.')
  for (const origin of origins.keys()) {
    if (origin === name || origin.startsWith(`${name}.`)) origins.delete(origin)
  }
}

function isTree(value: unknown): value is MutableTree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
