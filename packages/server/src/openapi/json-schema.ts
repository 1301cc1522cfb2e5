import type { Schema } from '@quintet/core'

/** A JSON Schema of the draft that OpenAPI 3.1 uses (2020-12). */
export type JsonSchema = Readonly<Record<string, unknown>>

/** Makes JSON Schema of one library's schemas, for what a caller sends (`input`) or gets (`output`). */
export type SchemaConverter = (schema: Schema, side: 'input' | 'output') => JsonSchema

/** Converters by the vendor name that a library's schemas carry, e.g. `valibot`. */
export type SchemaConverters = Readonly<Record<string, SchemaConverter>>

type Convert = (options: {
  readonly target: string
  readonly libraryOptions?: Readonly<Record<string, unknown>>
}) => JsonSchema

interface StandardJsonSchema {
  readonly input: Convert
  readonly output: Convert
}

/** Has a library describe a member that JSON Schema cannot say as any value, instead of failing for the whole. */
const lenient: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  zod: { unrepresentable: 'any' },
  arktype: { fallback: ({ base }: { readonly base: unknown }) => base },
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
  const { vendor } = standard
  const converter = Object.hasOwn(converters, vendor) ? converters[vendor] : undefined
  const own = (standard as { readonly jsonSchema?: StandardJsonSchema }).jsonSchema
  const options = Object.hasOwn(lenient, vendor) ? { libraryOptions: lenient[vendor] ?? {} } : {}
  try {
    const made =
      converter === undefined ? own?.[side]({ target: 'draft-2020-12', ...options }) : converter(schema, side)
    const { $schema: _draft, ...rest } = made ?? {}
    return rest
  } catch {
    return {}
  }
}
