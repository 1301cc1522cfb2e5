import { isUtf8 } from 'node:buffer'
import { serverError } from './errors.ts'

/** How deep the JSON of a caller may nest. */
export const maxJsonDepth = 64

/**
 * Reads JSON that a caller sent, and refuses what two readers could understand differently: bytes that
 * are not UTF-8, a member given twice, a member named `__proto__`, and nesting deeper than {@link maxJsonDepth}.
 *
 * @throws QuintetError `ERR_SERVER_BODY_INVALID`.
 */
export function parseJson(source: Buffer | string): unknown {
  if (typeof source !== 'string' && !isUtf8(source)) throw invalid('is not UTF-8')
  const text = typeof source === 'string' ? source : source.toString('utf8')
  const written = countWrittenMembers(text)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalid('is not JSON')
  }
  if (written > 0 && countMembers(value) !== written) throw invalid('has a member that is given twice')
  return value
}

function invalid(reason: string): Error {
  return serverError('ERR_SERVER_BODY_INVALID', `The body ${reason}.`)
}

const quote = 0x22
const backslash = 0x5c

/** How many members the text of a JSON value writes down, in all its objects. */
function countWrittenMembers(text: string): number {
  let members = 0
  let depth = 0
  for (let index = 0; index < text.length; index++) {
    const char = text.charCodeAt(index)
    if (char === quote) {
      index = endOfString(text, index + 1)
    } else if (char === 0x3a /* : */) {
      members++
    } else if (char === 0x7b /* { */ || char === 0x5b /* [ */) {
      if (++depth > maxJsonDepth) throw invalid(`nests deeper than ${String(maxJsonDepth)} levels`)
    } else if (char === 0x7d /* } */ || char === 0x5d /* ] */) {
      depth--
    }
  }
  return members
}

/** The index of the quote that ends the string which starts at `from`. */
export function endOfString(text: string, from: number): number {
  let end = text.indexOf('"', from)
  while (end !== -1) {
    let first = end
    while (text.charCodeAt(first - 1) === backslash && first > from) first--
    if ((end - first) % 2 === 0) return end
    end = text.indexOf('"', end + 1)
  }
  return text.length
}

function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let members = 0
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) members += countMembers(item)
    return members
  }
  for (const key in value) {
    if (key === '__proto__') throw invalid('has a member named __proto__')
    members += 1 + countMembers((value as Record<string, unknown>)[key])
  }
  return members
}
