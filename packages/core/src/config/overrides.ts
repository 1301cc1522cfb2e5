import type { ConfigSource, ConfigTree } from './source.ts'

/** Values given in code as a source of configuration, e.g. in a test. They are taken as they are. */
export function overrides(values: ConfigTree, label = 'overrides'): ConfigSource {
  return { label, values: 'typed', read: () => Promise.resolve(values) }
}
