/** Something that can be chosen by a key. */
export interface Candidate {
  /** What tells it from the others, e.g. its URL. */
  readonly id: string
  readonly weight: number
}

/**
 * Chooses by weighted rendezvous hashing: the same key meets the same candidate, each candidate gets keys in
 * proportion to its weight, and when one goes only its own keys move.
 */
export function chooseByKey<C extends Candidate>(candidates: readonly C[], key: string): C | undefined {
  let best: C | undefined
  let bestScore = Number.NEGATIVE_INFINITY
  for (const candidate of candidates) {
    if (candidate.weight <= 0) continue
    const score = candidate.weight / -Math.log(fraction(`${candidate.id}\n${key}`))
    if (score > bestScore) {
      best = candidate
      bestScore = score
    }
  }
  return best
}

/** A number between 0 and 1 (both excluded) that depends on the text alone: FNV-1a with the finish of MurmurHash3. */
function fraction(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / 2 ** 32
}
