import type { StandardSchemaV1 } from '@standard-schema/spec'

/** A JSON Schema of the draft that OpenAPI 3.1 uses (2020-12). */
export type JsonSchema = Readonly<Record<string, unknown>>

/** Options of one library, by the vendor name that its schemas carry. */
export type LibraryOptions = Readonly<Record<string, Readonly<Record<string, unknown>>>>

type Convert = (options: {
  readonly target: string
  readonly libraryOptions?: Readonly<Record<string, unknown>>
}) => JsonSchema

interface StandardJsonSchema {
  readonly input: Convert
  readonly output: Convert
}

/** Has a library describe a member that JSON Schema cannot say as any value, instead of failing for the whole. */
const lenient: LibraryOptions = {
  zod: { unrepresentable: 'any' },
  valibot: { errorMode: 'ignore' },
  arktype: { fallback: ({ base }: { readonly base: unknown }) => base },
}

/**
 * The JSON Schema of a Standard Schema, by its own Standard JSON Schema trait: of what it takes (`input`) or makes
 * (`output`). A schema that cannot tell is described as any value.
 *
 * @see https://standardschema.dev/json-schema
 */
export function toJsonSchema(
  schema: StandardSchemaV1,
  side: 'input' | 'output',
  libraryOptions: LibraryOptions = {},
): JsonSchema {
  const standard = schema['~standard']
  const { vendor, jsonSchema } = standard as typeof standard & { readonly jsonSchema?: StandardJsonSchema }
  if (jsonSchema === undefined) return {}
  const own = { ...memberOf(lenient, vendor), ...memberOf(libraryOptions, vendor) }
  try {
    return jsonSchema[side]({ target: 'draft-2020-12', libraryOptions: own })
  } catch {
    return {}
  }
}

function memberOf(options: LibraryOptions, vendor: string): Readonly<Record<string, unknown>> | undefined {
  return Object.hasOwn(options, vendor) ? options[vendor] : undefined
}
