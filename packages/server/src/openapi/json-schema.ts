import type { Schema } from '@quintet/core'

/** A JSON Schema of the draft that OpenAPI 3.1 uses (2020-12). */
export type JsonSchema = Readonly<Record<string, unknown>>

/** Makes JSON Schema of one library's schemas, for what a caller sends (`input`) or gets (`output`). */
export type SchemaConverter = (schema: Schema, side: 'input' | 'output') => JsonSchema

/** Converters by the vendor name that a library's schemas carry, e.g. `valibot`. */
export type SchemaConverters = Readonly<Record<string, SchemaConverter>>

interface StandardJsonSchema {
  readonly input: (options: { readonly target: string }) => JsonSchema
  readonly output: (options: { readonly target: string }) => JsonSchema
}

/**
 * The JSON Schema of a Standard Schema: by the registered converter of its library, else by the schema's
 * own Standard JSON Schema trait. A schema that can be told in neither way is described as any value.
 */
export function toJsonSchema(
  schema: Schema | undefined,
  side: 'input' | 'output',
  converters: SchemaConverters,
): JsonSchema {
  if (schema === undefined) return {}
  const standard = schema['~standard']
  const converter = Object.hasOwn(converters, standard.vendor) ? converters[standard.vendor] : undefined
  const own = (standard as { readonly jsonSchema?: StandardJsonSchema }).jsonSchema
  try {
    const made = converter === undefined ? own?.[side]({ target: 'draft-2020-12' }) : converter(schema, side)
    const { $schema: _draft, ...rest } = made ?? {}
    return rest
  } catch {
    // A part that JSON Schema cannot say, such as a custom check.
    return {}
  }
}
