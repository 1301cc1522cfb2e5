import { endOfJsonString } from '@quintet/core/kit'

/** What a client names its call with. */
export type CallId = string | number

/** Whether a client can know its call again by this: text, or a number that is what was written. */
export function isCallId(value: unknown): value is CallId {
  if (typeof value !== 'number') return typeof value === 'string'
  return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
}

const longestId = 256
const idValue = /\s*:\s*(?:("[^"\\]*")|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))\s*[,}]/y

/**
 * The id of a message that is refused unread: it is too large, nests too deep or is not quite JSON. It is the value of
 * the member `id` of the outermost object; undefined when there is none, or more than one.
 */
export function findCallId(text: string): CallId | undefined {
  let depth = 0
  let found: CallId | undefined
  for (let index = 0; index < text.length; index++) {
    const char = text.charAt(index)
    if (char === '{' || char === '[') depth++
    else if (char === '}' || char === ']') depth--
    else if (char === '"') {
      const end = endOfJsonString(text, index + 1)
      if (depth === 1 && end - index === 3 && text.startsWith('"id"', index)) {
        idValue.lastIndex = end + 1
        const [, string, number] = idValue.exec(text.slice(0, end + longestId)) ?? []
        if (string !== undefined || number !== undefined) {
          if (found !== undefined) return undefined
          const id = string === undefined ? Number(number) : string.slice(1, -1)
          if (!isCallId(id)) return undefined
          found = id
        }
      }
      index = end
    }
  }
  return found
}
