import { losesDigits } from './loses-digits.ts'
import { isSecretDefinition } from './secret-brand.ts'

/** What a schema expects at one place of the configuration, as far as it can be read. */
export interface SchemaShape {
  /** The keys it knows there; undefined when it takes any, or expects no object. */
  readonly keys: readonly string[] | undefined
  /** Whether it may be an object here. */
  readonly isObject: boolean
  readonly isSecret: boolean
  member(key: string): SchemaShape
  /** Turns a text into the number, boolean or list that the schema wants here, if it wants one and the text is one. */
  coerce(text: string): unknown
}

interface Definition {
  readonly type: string
  readonly [key: string]: unknown
}

/** The shape of a zod schema. Of any other Standard Schema nothing can be read: it takes every key, and texts stay texts. */
export function shapeOf(schema: unknown): SchemaShape {
  return shapeOfAny(definitionsOf(schema))
}

/** The shape of a place where one of several definitions holds. */
function shapeOfAny(definitions: readonly Definition[]): SchemaShape {
  const objects = definitions.filter((definition) => ['object', 'record', 'map'].includes(definition.type))
  const isOpen =
    definitions.length === 0 ||
    definitions.some(({ type }) => ['any', 'unknown', 'custom', 'record', 'map'].includes(type)) ||
    objects.some((definition) => takesOtherKeys(definition))
  return {
    keys:
      isOpen || objects.length === 0
        ? undefined
        : [...new Set(objects.flatMap((each) => Object.keys(shape(each))))],
    isObject: objects.length > 0 || isOpen,
    isSecret: definitions.some(isSecretDefinition),
    member: (key) => shapeOfAny(definitions.flatMap((definition) => memberOf(definition, key))),
    coerce: (text) => coerce(definitions, text),
  }
}

/** The definition of a schema without what only wraps it; several for a union or an intersection. */
function definitionsOf(schema: unknown, depth = 0): readonly Definition[] {
  const definition = definitionOf(schema)
  if (definition === undefined || depth > 32) return []
  const inner = (key: string): readonly Definition[] => definitionsOf(definition[key], depth + 1)
  switch (definition.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'nonoptional':
    case 'readonly':
    case 'catch':
    case 'success':
      return inner('innerType')
    case 'pipe': {
      if (isSecretDefinition(definition)) return [definition]
      return definitionOf(definition['in'])?.type === 'transform' ? inner('out') : inner('in')
    }
    case 'lazy':
      return definitionsOf((definition['getter'] as () => unknown)(), depth + 1)
    case 'union':
      return (definition['options'] as readonly unknown[]).flatMap((option) =>
        definitionsOf(option, depth + 1),
      )
    case 'intersection':
      return [...inner('left'), ...inner('right')]
    default:
      return [definition]
  }
}

function definitionOf(schema: unknown): Definition | undefined {
  if (typeof schema !== 'object' || schema === null || !('_zod' in schema)) return undefined
  const { _zod: internals } = schema as { readonly _zod: { readonly def: Definition } }
  return internals.def
}

function shape(definition: Definition): Readonly<Record<string, unknown>> {
  return definition.type === 'object' ? (definition['shape'] as Record<string, unknown>) : {}
}

function takesOtherKeys(definition: Definition): boolean {
  const catchall = definitionOf(definition['catchall'])
  return catchall !== undefined && catchall.type !== 'never'
}

function memberOf(definition: Definition, key: string): readonly Definition[] {
  switch (definition.type) {
    case 'object': {
      const members = shape(definition)
      return definitionsOf(Object.hasOwn(members, key) ? members[key] : definition['catchall'])
    }
    case 'record':
    case 'map':
      return definitionsOf(definition['valueType'])
    case 'array':
      return definitionsOf(definition['element'])
    default:
      return []
  }
}

function coerce(definitions: readonly Definition[], text: string): unknown {
  if (definitions.length === 0 || definitions.some((definition) => takesText(definition, text))) return text
  for (const definition of definitions) {
    const value = coerceTo(definition, text)
    if (value !== undefined) return value
  }
  return text
}

function takesText(definition: Definition, text: string): boolean {
  switch (definition.type) {
    case 'number':
    case 'int':
    case 'boolean':
    case 'bigint':
    case 'array':
    case 'set':
    case 'object':
    case 'record':
    case 'null':
    case 'undefined':
      return false
    case 'literal':
    case 'enum':
      return valuesOf(definition).includes(text)
    default:
      return true
  }
}

function coerceTo(definition: Definition, text: string): unknown {
  switch (definition.type) {
    case 'number':
    case 'int':
      return isNumeral(text) ? Number(text) : undefined
    case 'bigint':
      return /^-?\d+$/.test(text) ? BigInt(text) : undefined
    case 'boolean':
      return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : undefined
    case 'literal':
    case 'enum':
      return valuesOf(definition).find((value) => typeof value !== 'string' && String(value) === text)
    case 'array': {
      const element = definitionsOf(definition['element'])
      const items = text === '' ? [] : text.split(',').map((item) => item.trim())
      // An empty item is a slip of the pen; the text stays one, and the schema says that it wants a list.
      return items.includes('') ? undefined : items.map((item) => coerce(element, item))
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

function valuesOf(definition: Definition): readonly unknown[] {
  return definition.type === 'literal'
    ? (definition['values'] as readonly unknown[])
    : Object.values(definition['entries'] as Record<string, unknown>)
}
