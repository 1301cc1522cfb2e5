import { hash } from 'node:crypto'

interface Held<Entry> {
  readonly entry: Entry
  readonly until: number
}

/**
 * Remembers what is known about verified tokens, by the SHA-256 of the whole token, for a bounded number of
 * tokens and a bounded time. The least recently used goes first.
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

  /** The key under which a token is kept. */
  static keyOf(token: string): string {
    return hash('sha256', token, 'base64')
  }

  get(key: string, now: number): Entry | undefined {
    const recent = this.#recent.get(key)
    const held = recent ?? this.#older.get(key)
    if (held === undefined) return undefined
    if (now >= held.until) {
      this.#recent.delete(key)
      this.#older.delete(key)
      return undefined
    }
    if (recent === undefined) this.#keep(key, held)
    return held.entry
  }

  /** Keeps an entry for the cache's time, but never past `expiresAt`. */
  set(key: string, entry: Entry, now: number, expiresAt: number): void {
    const until = Math.min(now + this.#ttl, expiresAt)
    if (until > now && this.#maxEntries > 0) this.#keep(key, { entry, until })
  }

  clear(): void {
    this.#recent.clear()
    this.#older.clear()
  }

  get size(): number {
    return this.#recent.size + this.#older.size
  }

  /** Two generations: when the younger one is half of the bound, it becomes the older, and what was older goes. */
  #keep(key: string, held: Held<Entry>): void {
    this.#older.delete(key)
    this.#recent.set(key, held)
    if (this.#recent.size * 2 >= this.#maxEntries) {
      this.#older = this.#recent
      this.#recent = new Map()
    }
  }
}
