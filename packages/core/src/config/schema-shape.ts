import type { StandardSchemaV1 } from '@standard-schema/spec'
import { toJsonSchema, type JsonSchema, type LibraryOptions } from '../options/json-schema.ts'
import { coerceText } from './coerce-text.ts'
import { alternativesOf, isAnyValue, isJsonSchema, typesOf } from './schema-alternatives.ts'

/** What a schema expects at one place of the configuration, as far as its JSON Schema tells. */
export interface SchemaShape {
  /** The keys it knows there; undefined when it takes any, or expects no object. */
  readonly keys: readonly string[] | undefined
  /** Whether its JSON Schema says `writeOnly`, as that of `secret` does. */
  readonly isSecret: boolean
  member(key: string): SchemaShape
  /** Turns a text into the number, boolean or list that the schema wants here, if it wants one and the text is one. */
  coerce(text: string): unknown
}

const bigint: JsonSchema = { type: 'integer', format: 'bigint' }

/** JSON Schema has no bigints: each library is asked to tell those in the same way. */
const tellingBigints: LibraryOptions = {
  zod: {
    override: ({ zodSchema, jsonSchema }: { zodSchema: { type?: unknown }; jsonSchema: object }) => {
      if (zodSchema.type === 'bigint') Object.assign(jsonSchema, bigint)
    },
  },
  valibot: {
    overrideSchema: ({ valibotSchema }: { valibotSchema: { type?: unknown } }) =>
      valibotSchema.type === 'bigint' ? bigint : undefined,
  },
  arktype: {
    fallback: ({ base, domain }: { base: unknown; domain?: unknown }) =>
      domain === 'bigint' ? bigint : base,
  },
}

/**
 * The shape of a schema that implements Standard JSON Schema. Of any other nothing is known: it takes every key, and
 * texts stay texts.
 */
export function shapeOf(schema: StandardSchemaV1): SchemaShape {
  const root = toJsonSchema(schema, 'input', tellingBigints)
  return shapeOfAny(root, alternativesOf(root, root))
}

/** The shape of a place where one of several schemas holds. */
function shapeOfAny(root: JsonSchema, alternatives: readonly JsonSchema[]): SchemaShape {
  const objects = alternatives.filter((each) => typesOf(each).includes('object'))
  const isOpen = alternatives.length === 0 || alternatives.some(isAnyValue) || objects.some(takesOtherKeys)
  return {
    keys:
      isOpen || objects.length === 0
        ? undefined
        : [...new Set(objects.flatMap((each) => Object.keys(propertiesOf(each))))],
    isSecret: alternatives.some((each) => each['writeOnly'] === true),
    member: (key) =>
      shapeOfAny(
        root,
        alternatives.flatMap((each) => membersOf(root, each, key)),
      ),
    coerce: (text) => coerceText(root, alternatives, text),
  }
}

function propertiesOf(schema: JsonSchema): JsonSchema {
  const properties = schema['properties']
  return isJsonSchema(properties) ? properties : {}
}

/** An object without the keyword takes no others: most libraries drop what they do not know, which helps no operator. */
function takesOtherKeys(schema: JsonSchema): boolean {
  const others = schema['additionalProperties']
  return others === true || isJsonSchema(others) || schema['patternProperties'] !== undefined
}

function membersOf(root: JsonSchema, schema: JsonSchema, key: string): readonly JsonSchema[] {
  const properties = propertiesOf(schema)
  if (Object.hasOwn(properties, key)) return alternativesOf(root, properties[key])
  const others = typesOf(schema).includes('array') ? schema['items'] : schema['additionalProperties']
  return isJsonSchema(others) ? alternativesOf(root, others) : []
}
