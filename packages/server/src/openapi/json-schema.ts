import type { Schema } from '@quintet/core'
import { toJsonSchema, type JsonSchema } from '@quintet/core/kit'

/** Makes JSON Schema of one library's schemas, for what a caller sends (`input`) or gets (`output`). */
export type SchemaConverter = (schema: Schema, side: 'input' | 'output') => JsonSchema

/** Converters by the vendor name that a library's schemas carry, e.g. `valibot`. */
export type SchemaConverters = Readonly<Record<string, SchemaConverter>>

/**
 * The JSON Schema of a Standard Schema: by the registered converter of its library, else by the schema's
 * own Standard JSON Schema trait. A schema that can be told in neither way is described as any value.
 */
export function describeSchema(
  schema: Schema | undefined,
  side: 'input' | 'output',
  converters: SchemaConverters,
): JsonSchema {
  if (schema === undefined) return {}
  const { vendor } = schema['~standard']
  const converter = Object.hasOwn(converters, vendor) ? converters[vendor] : undefined
  const { $schema: _draft, ...rest } = converted(schema, side, converter)
  return rest
}

function converted(
  schema: Schema,
  side: 'input' | 'output',
  converter: SchemaConverter | undefined,
): JsonSchema {
  if (converter === undefined) return toJsonSchema(schema, side)
  try {
    return converter(schema, side)
  } catch {
    return {}
  }
}

export type { JsonSchema }
