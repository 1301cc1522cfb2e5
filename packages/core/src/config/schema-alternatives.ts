import type { JsonSchema } from '../options/json-schema.ts'

/** The schemas of which one holds at a place, with references followed and unions and intersections taken apart. */
export function alternativesOf(
  root: JsonSchema,
  schema: unknown,
  followed: Set<unknown> = new Set<unknown>(),
): readonly JsonSchema[] {
  if (!isJsonSchema(schema) || followed.has(schema)) return []
  // One that leads back to itself tells nothing more.
  followed.add(schema)
  const { $ref, anyOf, oneOf, allOf, ...rest } = schema
  const others = [
    ...(typeof $ref === 'string' ? [referredTo(root, $ref)] : []),
    ...[anyOf, oneOf, allOf].flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : [])),
  ]
  if (others.length === 0) return [rest]
  const found = others.flatMap((other) => alternativesOf(root, other, followed))
  // What stands beside them narrows them, or says something about all.
  return isAnyValue(rest) && rest['writeOnly'] !== true ? found : [...found, rest].filter(tellsSomething)
}

/** Whether a schema takes any value, as far as it tells. */
export function isAnyValue(schema: JsonSchema): boolean {
  return typesOf(schema).length === 0 && valuesOf(schema) === undefined
}

/** The types that a schema takes; none where it does not say. */
export function typesOf(schema: JsonSchema): readonly string[] {
  const { type, properties } = schema
  if (typeof type === 'string') return [type]
  if (Array.isArray(type)) return type as readonly string[]
  return properties === undefined ? [] : ['object']
}

/** The values of which a schema takes one; undefined where it does not list any. */
export function valuesOf(schema: JsonSchema): readonly unknown[] | undefined {
  if (Object.hasOwn(schema, 'const')) return [schema['const']]
  return Array.isArray(schema['enum']) ? (schema['enum'] as readonly unknown[]) : undefined
}

export function isJsonSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function tellsSomething(schema: JsonSchema): boolean {
  return !isAnyValue(schema) || schema['writeOnly'] === true
}

/** What a reference within the document points at (RFC 6901). */
function referredTo(root: JsonSchema, reference: string): unknown {
  if (!reference.startsWith('#')) return undefined
  let at: unknown = root
  for (const segment of decodeURIComponent(reference.slice(1)).split('/').slice(1)) {
    const key = segment.replaceAll('~1', '/').replaceAll('~0', '~')
    at =
      typeof at === 'object' && at !== null && Object.hasOwn(at, key) ? at[key as keyof typeof at] : undefined
  }
  return at
}
