import type { Duration, Principal } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'

/** A connection of its own, as `pg` gives it. */
export interface RelayClient {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: unknown[] }>
  on(event: 'notification' | 'error' | 'end', listener: (argument: never) => void): unknown
  release(error?: Error | boolean): void
}

export interface RelayPool {
  connect(): Promise<RelayClient>
}

/** An event on its way to those who want to hear of it. */
export interface DeliveredEvent {
  /** Stays the same when the event is delivered again: use it as the idempotency key. */
  readonly id: string
  readonly topic: string
  readonly key: string
  readonly payload: unknown
  /** Who caused it: a user without roles, or the system. */
  readonly principal: Principal
  readonly traceparent: string | undefined
  /** When it was added; ISO 8601. */
  readonly createdAt: string
}

export interface RelayOptions {
  /** Connections of the system login, directly to PostgreSQL: LISTEN does not pass a transaction-mode PgBouncer. */
  readonly pool: RelayPool
  /**
   * Hands an event on; it may be called again for the same event. What it throws is tried again later, and holds back
   * the events with the same key; an error of a kind that will not pass (invalid, forbidden, unsupported) makes the
   * event a dead one at once. `deliverTo` makes one that fills queues.
   */
  readonly deliver: (event: DeliveredEvent) => Promise<unknown>
  /** Events in one transaction. @defaultValue 100 */
  readonly batch?: number
  /** Looks for events also without a notification. @defaultValue `'5s'` */
  readonly poll?: Duration
  /** An event that could not be delivered so often is dead: it stays in the table, and those behind it go on. @defaultValue 20 */
  readonly maxAttempts?: number
  /** How long dead events stay in the table. @defaultValue `'30d'` */
  readonly deadRetention?: Duration
}

/** What applies where {@link RelayOptions} says nothing. */
export const relayDefaults = Object.freeze({
  batch: 100,
  poll: '5s',
  maxAttempts: 20,
  deadRetention: '30d',
} as const)

export interface ResolvedRelay {
  readonly pool: RelayPool
  readonly deliver: (event: DeliveredEvent) => Promise<unknown>
  readonly batch: number
  readonly poll: number
  readonly maxAttempts: number
  readonly deadRetention: number
}

/** @throws TypeError for options that are unknown or make no sense. */
export function resolveRelayOptions(options: RelayOptions): ResolvedRelay {
  refuseUnknownKeys(options, ['pool', 'deliver', 'batch', 'poll', 'maxAttempts', 'deadRetention'], 'relay')
  const batch = options.batch ?? relayDefaults.batch
  const maxAttempts = options.maxAttempts ?? relayDefaults.maxAttempts
  for (const [name, value] of Object.entries({ batch, maxAttempts })) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new TypeError(`relay: ${name} must be a whole number from 1.`)
  }
  if (typeof options.pool?.connect !== 'function') throw new TypeError('relay: pool must be a pool of pg.')
  if (typeof options.deliver !== 'function') throw new TypeError('relay: deliver must be a function.')
  return {
    pool: options.pool,
    deliver: options.deliver,
    batch,
    maxAttempts,
    poll: parseDuration(options.poll ?? relayDefaults.poll, 'relay: poll'),
    deadRetention: parseDuration(
      options.deadRetention ?? relayDefaults.deadRetention,
      'relay: deadRetention',
    ),
  }
}
