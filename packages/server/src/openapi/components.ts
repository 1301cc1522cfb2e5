import type { JsonSchema } from './json-schema.ts'

/**
 * The schemas of a document that several places refer to. A schema brings its definitions along; they become components,
 * and what refers to them follows.
 */
export class Components {
  readonly schemas: Record<string, JsonSchema> = {}

  /** Takes a schema in. @param name what it is called where it refers to itself. */
  add(schema: JsonSchema, name: string): JsonSchema {
    const { $defs, definitions, ...root } = schema
    const refs = new Map<string, string>()
    const groups = { $defs, definitions }
    const found: [name: string, definition: JsonSchema][] = []
    for (const [group, members] of Object.entries(groups)) {
      if (typeof members !== 'object' || members === null) continue
      for (const [key, definition] of Object.entries(members as Record<string, JsonSchema>)) {
        const component = this.#nameFor(key, definition)
        refs.set(`#/${group}/${key}`, component)
        found.push([component, definition])
      }
    }
    const isRecursive = holds(schema, '#')
    if (isRecursive) refs.set('#', this.#nameFor(name, root))
    for (const [component, definition] of found) this.schemas[component] = follow(definition, refs)
    const followed = follow(root, refs)
    const own = refs.get('#')
    if (own === undefined) return followed
    this.schemas[own] = followed
    return { $ref: reference(own) }
  }

  /** The component that a schema refers to; a schema that is none is its own. */
  resolve(schema: JsonSchema): JsonSchema {
    const { $ref } = schema
    const name = typeof $ref === 'string' ? $ref.slice(reference('').length) : undefined
    return name === undefined ? schema : (this.schemas[name] ?? {})
  }

  /** A free name; the name of a component that is the same already. */
  #nameFor(wanted: string, schema: JsonSchema): string {
    const base = wanted.replace(/[^\w.-]/g, '_')
    const text = JSON.stringify(schema)
    for (let count = 1; ; count++) {
      const name = count === 1 ? base : `${base}_${String(count)}`
      const holder = this.#texts.get(name)
      if (holder === text) return name
      if (holder !== undefined) continue
      this.#texts.set(name, text)
      this.schemas[name] = {}
      return name
    }
  }

  readonly #texts = new Map<string, string>([['Problem', '']])
}

function reference(component: string): string {
  return `#/components/schemas/${component}`
}

/** The target of a `$ref` as it is written in {@link Components.add}, without the escapes of a JSON pointer in a URL. */
function targetOf(ref: string): string {
  try {
    return decodeURIComponent(ref).replace(/~1/g, '/').replace(/~0/g, '~')
  } catch {
    return ref
  }
}

function holds(value: unknown, ref: string): boolean {
  if (Array.isArray(value)) return value.some((item) => holds(item, ref))
  if (typeof value !== 'object' || value === null) return false
  if ('$ref' in value && value.$ref === ref) return true
  return Object.values(value).some((member) => holds(member, ref))
}

function follow(schema: JsonSchema, refs: ReadonlyMap<string, string>): JsonSchema {
  return rewrite(schema, refs) as JsonSchema
}

function rewrite(value: unknown, refs: ReadonlyMap<string, string>): unknown {
  if (Array.isArray(value)) return value.map((item) => rewrite(item, refs))
  if (typeof value !== 'object' || value === null) return value
  const { $ref } = value as { readonly $ref?: unknown }
  const component = typeof $ref === 'string' ? refs.get(targetOf($ref)) : undefined
  return Object.fromEntries(
    Object.entries(value)
      // An identifier would change what the references below it are relative to.
      .filter(([key, member]) => !((key === '$id' || key === '$anchor') && typeof member === 'string'))
      .map(([key, member]) => [
        key,
        key === '$ref' && component !== undefined ? reference(component) : rewrite(member, refs),
      ]),
  )
}
