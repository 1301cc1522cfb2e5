import { isUtf8 } from 'node:buffer'

export interface StrictJsonOptions {
  /** How deep objects and lists may nest. @defaultValue 64 */
  readonly maxDepth?: number
  /** Refuses everything but an object. @defaultValue false */
  readonly object?: boolean
}

/** What applies where {@link StrictJsonOptions} says nothing. */
export const strictJsonDefaults = Object.freeze({ maxDepth: 64, object: false } as const)

/**
 * Parses JSON (RFC 8259) and refuses what two parsers could understand differently: bytes that are not UTF-8, a byte
 * order mark, a member given twice at any depth, a member named `__proto__`, and nesting that is too deep.
 *
 * @throws SyntaxError saying what is wrong, without a word of the text, e.g. `is not UTF-8`.
 *
 * @example
 * parseStrictJson('{"a":1}') // { a: 1 }
 * parseStrictJson('{"a":1,"a":2}') // SyntaxError: has a member that is given twice
 */
export function parseStrictJson(
  source: Uint8Array | string,
  options: StrictJsonOptions & { readonly object: true },
): Record<string, unknown>
export function parseStrictJson(source: Uint8Array | string, options?: StrictJsonOptions): unknown
export function parseStrictJson(source: Uint8Array | string, options: StrictJsonOptions = {}): unknown {
  const { maxDepth = strictJsonDefaults.maxDepth, object = strictJsonDefaults.object } = options
  const text = typeof source === 'string' ? source : decode(source)
  const written = countWrittenMembers(text, maxDepth)
  const value = parse(text)
  if (object && (typeof value !== 'object' || value === null || Array.isArray(value))) {
    throw new SyntaxError('is not a JSON object')
  }
  if (written > 0 && countMembers(value) !== written)
    throw new SyntaxError('has a member that is given twice')
  return value
}

function decode(bytes: Uint8Array): string {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = buffer.toString('utf8')
  // What is not UTF-8 is decoded as U+FFFD; without any there is nothing more to look at.
  if (text.includes('\uFFFD') && !isUtf8(bytes)) throw new SyntaxError('is not UTF-8')
  return text
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The engine's message quotes the text around the mistake, and that may be a secret.
    // oxlint-disable-next-line preserve-caught-error
    throw new SyntaxError('is not JSON')
  }
}

const quote = 0x22
const colon = 0x3a
const backslash = 0x5c
const openBrace = 0x7b
const openBracket = 0x5b
const closeBrace = 0x7d
const closeBracket = 0x5d

/** How many members the text of a JSON value writes down, in all its objects: one for each colon outside a string. */
function countWrittenMembers(text: string, maxDepth: number): number {
  let members = 0
  let depth = 0
  for (let index = 0; index < text.length; index++) {
    const char = text.charCodeAt(index)
    if (char === quote) {
      index = endOfJsonString(text, index + 1)
    } else if (char === colon) {
      members++
    } else if (char === openBrace || char === openBracket) {
      if (++depth > maxDepth) throw new SyntaxError(`nests deeper than ${maxDepth} levels`)
    } else if (char === closeBrace || char === closeBracket) {
      depth--
    }
  }
  return members
}

/** The index of the quote that ends the JSON string whose text starts at `from`; the length of the text where none does. */
export function endOfJsonString(text: string, from: number): number {
  let end = text.indexOf('"', from)
  while (end !== -1) {
    let first = end
    while (text.charCodeAt(first - 1) === backslash && first > from) first--
    if ((end - first) % 2 === 0) return end
    end = text.indexOf('"', end + 1)
  }
  return text.length
}

/** How many members the parsed value has. A member that was written twice took the place of the first one. */
function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let members = 0
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) members += countMembers(item)
    return members
  }
  for (const key in value) {
    if (key === '__proto__') throw new SyntaxError('has a member named __proto__')
    members += 1 + countMembers((value as Record<string, unknown>)[key])
  }
  return members
}
