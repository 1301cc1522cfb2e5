/**
 * Refuses keys that an options object does not know, each by its path and with the nearest known key.
 *
 * @throws TypeError naming every unknown key.
 */
export function refuseUnknownKeys(value: object, known: readonly string[], path: string): void {
  const unknown = Object.keys(value).filter((key) => !known.includes(key))
  if (unknown.length === 0) return
  throw new TypeError(unknown.map((key) => describeUnknownKey(key, known, path)).join('\n'))
}

/** One sentence about an unknown key: where it is, and what was probably meant. */
export function describeUnknownKey(key: string, known: readonly string[], path: string): string {
  const nearest = nearestKey(key, known)
  const hint = nearest === undefined ? `Known keys: ${known.join(', ')}.` : `Did you mean "${nearest}"?`
  return `${path === '' ? '' : `${path}: `}unknown key "${key}". ${hint}`
}

/** The known key with the smallest edit distance, if it is near enough to be a slip of the pen. */
export function nearestKey(key: string, known: readonly string[]): string | undefined {
  const lower = key.toLowerCase()
  const limit = Math.max(2, Math.floor(key.length / 3))
  let best: string | undefined
  let bestDistance = limit + 1
  for (const candidate of known) {
    const distance = editDistance(lower, candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const substitution = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1)
      current.push(Math.min((previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, substitution))
    }
    previous = current
  }
  return previous[b.length] ?? 0
}
