import type { ConfigSource, ConfigTree } from './source.ts'

/**
 * The environment variables with a prefix as a source of configuration. `__` goes one level down, and each segment
 * is read as camelCase: under `env('MEDIA_')`, `MEDIA_DATABASE__OWNER_URL` is `database.ownerUrl`.
 *
 * Values are texts. Only where the schema wants a number, a boolean or a list (separated by commas) they become one.
 */
export function env(prefix: string): ConfigSource {
  if (!/^[A-Z][A-Z0-9_]*_$/.test(prefix)) {
    throw new TypeError(
      `env: the prefix ${JSON.stringify(prefix)} must be in capitals and end with "_", e.g. 'MEDIA_'.`,
    )
  }
  return {
    label: `env ${prefix}*`,
    values: 'text',
    placeOf: (path) => prefix + path.map(constantCase).join('__'),
    async read({ env: variables }) {
      const tree: MutableTree = Object.create(null)
      const names = Object.keys(variables)
        .filter((name) => name.startsWith(prefix))
        .toSorted()
      for (const name of names) {
        const value = variables[name]
        if (value === undefined) continue
        const path = name.slice(prefix.length).split('__').map(camelCase)
        if (path.includes('')) throw new Error(`has a variable ${name} whose name has an empty part.`)
        place(tree, path, value, name)
      }
      return tree
    },
  }
}

interface MutableTree {
  [key: string]: string | MutableTree
}

function place(tree: MutableTree, path: readonly string[], value: string, name: string): void {
  let at: ConfigTree & MutableTree = tree
  for (const segment of path.slice(0, -1)) {
    const next = (at[segment] ??= Object.create(null) as MutableTree)
    if (typeof next === 'string')
      throw new Error(`has a variable ${name} below another one that has a value of its own.`)
    at = next
  }
  const last = path.at(-1) ?? ''
  if (last in at) throw new Error(`has a variable ${name} that stands for the same key as another one.`)
  at[last] = value
}

function constantCase(segment: string): string {
  return segment.replaceAll(/[A-Z]/g, '_$&').toUpperCase()
}

function camelCase(segment: string): string {
  return segment.toLowerCase().replaceAll(/_+([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase())
}
