import { randomBytes } from 'node:crypto'
import { delay, within } from '@quintet/core/kit'
import { AuthError, Refusal } from '../errors.ts'
import { sessionKey, type SessionRef } from './session-keys.ts'
import type { SessionRegistry } from './session-registry.ts'
import type { StoredSession } from './session-store.ts'

/** Finds a session in the database that owns it. */
export type SessionLookup = (ref: SessionRef) => Promise<StoredSession | undefined>

/** How long a claim stands, the whole of a re-warm may take, and an unknown session is remembered, in milliseconds. */
const claimTtl = 2_000
const deadline = 1_500
const negativeTtl = 1_000
/** Lookups of one process at once: when Redis has lost everything, the database must not go down as well. */
export const maxLookups = 50

/**
 * Brings sessions back into Redis that it has lost. However many calls and processes ask for one at once, the
 * database is asked once: callers in a process share one run (single flight), processes a claim that stands in the place of the
 * session. What was read is put only in the place of that claim, so whatever happened since it was made
 * (a revocation, another loss) is never undone.
 */
export class SessionWarmer {
  readonly #registry: SessionRegistry
  readonly #lookup: SessionLookup
  readonly #onWarmed: ((ref: SessionRef) => void) | undefined
  readonly #running = new Map<string, Promise<void>>()
  readonly #waiting = new Set<() => void>()
  #free = maxLookups

  constructor(registry: SessionRegistry, lookup: SessionLookup, onWarmed?: (ref: SessionRef) => void) {
    this.#registry = registry
    this.#lookup = lookup
    this.#onWarmed = onWarmed
  }

  /**
   * Resolves when Redis has an answer about the session again: the session, or a tombstone.
   *
   * @throws AuthError `ERR_AUTH_UNAVAILABLE` when neither comes about within 1.5 s.
   */
  warm(ref: SessionRef): Promise<void> {
    return this.#once(`warm ${sessionKey(ref)}`, () => this.#warm(ref))
  }

  /**
   * Brings what the database says of a session that Redis has over to Redis: a later generation, or its end.
   *
   * @throws AuthError `ERR_AUTH_UNAVAILABLE`
   */
  reproject(ref: SessionRef): Promise<void> {
    return this.#once(`reproject ${sessionKey(ref)}`, () => this.#reproject(ref))
  }

  #once(key: string, step: () => Promise<void>): Promise<void> {
    const running = this.#running.get(key)
    if (running !== undefined) return running
    const run = step().finally(() => this.#running.delete(key))
    this.#running.set(key, run)
    return run
  }

  async #reproject(ref: SessionRef): Promise<void> {
    const until = performance.now() + deadline
    await this.#turn(until)
    try {
      const found = await this.#find(ref, until)
      if (found === undefined) return
      const { record } = found
      if (record.state === 'revoked') await this.#registry.revoke(ref, record.reason ?? 'revoked')
      else await this.#registry.advance(record)
    } finally {
      this.#next()
    }
  }

  async #warm(ref: SessionRef): Promise<void> {
    const until = performance.now() + deadline
    await this.#turn(until)
    try {
      while (performance.now() < until) {
        const nonce = randomBytes(9).toString('base64url')
        const { outcome } = await this.#registry.claim(ref, nonce, claimTtl)
        if (outcome === 'HELD') return
        if (outcome === 'CLAIMED') {
          if (await this.#fill(ref, nonce, until)) return
        } else {
          await delay(5 + Math.random() * 20)
        }
      }
    } finally {
      this.#next()
    }
    throw late()
  }

  /** Resolves when this run is one of the few that may ask. */
  async #turn(until: number): Promise<void> {
    if (this.#free > 0) {
      this.#free--
      return
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.add(resolve)
    try {
      await within(until - performance.now(), promise, 'took too long')
    } catch {
      // A turn that came at that very moment goes to the next.
      if (!this.#waiting.delete(resolve)) this.#next()
      throw late()
    }
  }

  #next(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#free++
      return
    }
    this.#waiting.delete(next)
    next()
  }

  async #find(ref: SessionRef, until: number): Promise<StoredSession | undefined> {
    try {
      return await within(until - performance.now(), this.#lookup(ref), 'took too long')
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'The lookup failed.'
      throw new AuthError('ERR_AUTH_UNAVAILABLE', { cause: new Refusal(`Session lookup: ${reason}`) })
    }
  }

  /** False when the claim was lost on the way, and everything must begin again. */
  async #fill(ref: SessionRef, nonce: string, until: number): Promise<boolean> {
    let found: StoredSession | undefined
    try {
      found = await this.#find(ref, until)
    } catch (error) {
      await this.#registry.unclaim(ref, nonce)
      throw error
    }
    if (found === undefined) {
      await this.#registry.fillMissing(ref, nonce, negativeTtl)
      return true
    }
    const filled = await this.#registry.fill(ref, nonce, found)
    if (filled === 'OK') this.#onWarmed?.(ref)
    return filled !== 'LOST'
  }
}

function late(): AuthError {
  return new AuthError('ERR_AUTH_UNAVAILABLE', {
    cause: new Refusal('The session was not re-warmed in time.'),
  })
}
