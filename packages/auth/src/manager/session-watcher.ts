import type { Clock, SessionEnd } from '@quintet/core/kit'
import type { BoundToken, SessionCheck } from './session-check.ts'
import type { SessionSnapshot } from './session-snapshot.ts'

interface Watched {
  readonly token: BoundToken
  readonly onEnd: (end: SessionEnd) => void
  /** How many looks of the interval in a row found no session at all. */
  misses: number
  /** Told already: what may follow is the end of the session. */
  superseded: boolean
}

/**
 * After so many looks of the interval without a session it counts as expired: a Redis that has just been emptied has until
 * then to get it back. Looks because something was written count for nothing here, they come together.
 */
const missesToEnd = 2
/** Sessions read at once. */
const width = 64

/** Looks after the sessions behind open connections, and says once when one has ended. */
export class SessionWatcher {
  readonly #check: SessionCheck
  readonly #read: (token: BoundToken) => Promise<SessionSnapshot | undefined>
  readonly #clock: Clock
  readonly #interval: number
  readonly #watched = new Map<string, Set<Watched>>()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(
    check: SessionCheck,
    read: (token: BoundToken) => Promise<SessionSnapshot | undefined>,
    clock: Clock,
    interval: number,
  ) {
    this.#check = check
    this.#read = read
    this.#clock = clock
    this.#interval = interval
  }

  watch(token: BoundToken, onEnd: (end: SessionEnd) => void): Disposable {
    if (this.#closed) throw new TypeError('watch: the auth manager is closed.')
    const watched: Watched = { token, onEnd, misses: 0, superseded: false }
    const group = this.#watched.get(token.key) ?? new Set()
    this.#watched.set(token.key, group.add(watched))
    // Whatever happened between the authentication and now is seen at once.
    void this.#look(token.key)
    this.#schedule()
    return { [Symbol.dispose]: () => this.#forget(watched) }
  }

  /** The session was written, or with null, any of them may have been. */
  invalidated(key: string | null): void {
    if (key === null) void this.#lookAtAll()
    else if (this.#watched.has(key)) void this.#look(key)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#watched.clear()
  }

  #forget(watched: Watched): void {
    const group = this.#watched.get(watched.token.key)
    group?.delete(watched)
    if (group?.size === 0) this.#watched.delete(watched.token.key)
    if (this.#watched.size > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed || this.#watched.size === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      void this.#lookAtAll(true).finally(() => this.#schedule())
    }, this.#interval)
    this.#timer.unref()
  }

  async #lookAtAll(isInterval = false): Promise<void> {
    const keys = [...this.#watched.keys()]
    for (let start = 0; start < keys.length && !this.#closed; start += width) {
      await Promise.all(keys.slice(start, start + width).map((key) => this.#look(key, isInterval)))
    }
  }

  async #look(key: string, isInterval = false): Promise<void> {
    const [first] = this.#watched.get(key) ?? []
    if (first === undefined) return
    let session: SessionSnapshot | undefined
    let known = true
    try {
      session = await this.#read(first.token)
    } catch {
      // Redis is away: nothing is known of the session, and tokens run out all the same.
      known = false
    }
    const now = this.#clock.now()
    for (const watched of this.#watched.get(key) ?? []) {
      if (known && session === undefined && isInterval) watched.misses++
      const end = this.#endOf(watched, known, session, now)
      if (end === undefined) continue
      if (end === 'superseded') watched.superseded = true
      else this.#forget(watched)
      watched.onEnd(end)
    }
  }

  #endOf(
    watched: Watched,
    known: boolean,
    session: SessionSnapshot | undefined,
    now: number,
  ): SessionEnd | undefined {
    const { expiresAt } = watched.token.principal
    if (expiresAt !== null && now >= expiresAt) return 'expired'
    if (!known) return undefined
    if (session === undefined) return watched.misses >= missesToEnd ? 'expired' : undefined
    watched.misses = 0
    const decision = this.#check.decide(watched.token, session, now)
    return decision === 'alive' || (decision === 'superseded' && watched.superseded) ? undefined : decision
  }
}
