const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads bytes as one JSON object: valid UTF-8 without a byte order mark, and no member twice at any depth, so
 * that two parsers cannot read two things. Undefined for anything else.
 */
export function parseStrictObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  let text: string
  let value: unknown
  try {
    text = decoder.decode(bytes)
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return hasDuplicateMember(text) ? undefined : (value as Record<string, unknown>)
}

/** Scans text that is known to be valid JSON. `__proto__` counts as a duplicate: no honest client sends it. */
function hasDuplicateMember(text: string): boolean {
  /** The names seen in each open object; null for an open array. */
  const open: (Set<string> | null)[] = []
  let index = 0
  while (index < text.length) {
    const character = text[index]
    if (character === '"') {
      const end = endOfString(text, index)
      const names = open.at(-1)
      if (names && isMemberName(text, end)) {
        const name = JSON.parse(text.slice(index, end)) as string
        if (name === '__proto__' || names.has(name)) return true
        names.add(name)
      }
      index = end
      continue
    }
    if (character === '{') open.push(new Set())
    else if (character === '[') open.push(null)
    else if (character === '}' || character === ']') open.pop()
    index++
  }
  return false
}

/** The index after the closing quote. */
function endOfString(text: string, start: number): number {
  let index = start + 1
  while (text[index] !== '"') index += text[index] === '\\' ? 2 : 1
  return index + 1
}

function isMemberName(text: string, end: number): boolean {
  let index = end
  while (text[index] === ' ' || text[index] === '\t' || text[index] === '\n' || text[index] === '\r') index++
  return text[index] === ':'
}
