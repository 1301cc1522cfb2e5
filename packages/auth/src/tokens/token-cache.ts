interface Held<Entry> {
  readonly token: string
  readonly entry: Entry
  readonly until: number
}

/**
 * Remembers what is known about verified tokens, for a bounded number of tokens and a bounded time. The least recently
 * used goes first.
 *
 * A token is found by its signature, which is short, and must then be the same in whole: a digest of all of it would
 * cost a call more than all else that is done to recall it.
 */
export class TokenCache<Entry extends object> {
  readonly #maxEntries: number
  readonly #ttl: number
  #recent = new Map<string, Held<Entry>>()
  #older = new Map<string, Held<Entry>>()

  constructor(maxEntries: number, ttl: number) {
    this.#maxEntries = maxEntries
    this.#ttl = ttl
  }

  get(token: string, now: number): Entry | undefined {
    const signature = signatureOf(token)
    const recent = this.#recent.get(signature)
    const held = recent ?? this.#older.get(signature)
    if (held === undefined || held.token !== token) return undefined
    if (now >= held.until) {
      this.#recent.delete(signature)
      this.#older.delete(signature)
      return undefined
    }
    if (recent === undefined) this.#keep(signature, held)
    return held.entry
  }

  /** Keeps an entry for the cache's time, but never past `expiresAt`. */
  set(token: string, entry: Entry, now: number, expiresAt: number): void {
    const until = Math.min(now + this.#ttl, expiresAt)
    if (until > now && this.#maxEntries > 0) this.#keep(signatureOf(token), { token, entry, until })
  }

  clear(): void {
    this.#recent.clear()
    this.#older.clear()
  }

  get size(): number {
    return this.#recent.size + this.#older.size
  }

  /** Two generations: when the younger one is half of the bound, it becomes the older, and what was older goes. */
  #keep(signature: string, held: Held<Entry>): void {
    this.#older.delete(signature)
    this.#recent.set(signature, held)
    if (this.#recent.size * 2 >= this.#maxEntries) {
      this.#older = this.#recent
      this.#recent = new Map()
    }
  }
}

function signatureOf(token: string): string {
  return token.slice(token.lastIndexOf('.') + 1)
}
