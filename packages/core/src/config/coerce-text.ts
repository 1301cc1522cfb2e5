import type { JsonSchema } from '../options/json-schema.ts'
import { losesDigits } from './loses-digits.ts'
import { alternativesOf, typesOf, valuesOf } from './schema-alternatives.ts'

/** Turns a text into what one of the schemas wants; a text that none of them wants stays one, for the schema to refuse. */
export function coerceText(root: JsonSchema, alternatives: readonly JsonSchema[], text: string): unknown {
  if (alternatives.length === 0 || alternatives.some((schema) => takesText(schema, text))) return text
  for (const schema of alternatives) {
    const value = coerceTo(root, schema, text)
    if (value !== undefined) return value
  }
  return text
}

function takesText(schema: JsonSchema, text: string): boolean {
  const values = valuesOf(schema)
  if (values !== undefined) return values.includes(text)
  const types = typesOf(schema)
  return types.length === 0 || types.includes('string')
}

function coerceTo(root: JsonSchema, schema: JsonSchema, text: string): unknown {
  const values = valuesOf(schema)
  if (values !== undefined) return values.find((value) => typeof value !== 'string' && String(value) === text)
  for (const type of typesOf(schema)) {
    const value = coerceToType(root, schema, type, text)
    if (value !== undefined) return value
  }
  return undefined
}

function coerceToType(root: JsonSchema, schema: JsonSchema, type: string, text: string): unknown {
  switch (type) {
    case 'number':
    case 'integer':
      if (schema['format'] === 'bigint') return /^-?\d+$/.test(text) ? BigInt(text) : undefined
      return isNumeral(text) ? Number(text) : undefined
    case 'boolean':
      return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : undefined
    case 'array': {
      const element = alternativesOf(root, schema['items'])
      const items = text === '' ? [] : text.split(',').map((item) => item.trim())
      // An empty item is a slip of the pen; the text stays one, and the schema says that it wants a list.
      return items.includes('') ? undefined : items.map((item) => coerceText(root, element, item))
    }
    default:
      return undefined
  }
}

/** A numeral as people write one: no blanks, no hexadecimal, no leading zeros and no digits that a number would lose. */
function isNumeral(text: string): boolean {
  if (losesDigits(text)) return false
  return /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text) && Number.isFinite(Number(text))
}
