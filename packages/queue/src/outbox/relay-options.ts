import type { Duration, Principal } from '@quintet/core'
import { option, readOptions, type ResolvedOptions } from '@quintet/core/kit'

/** A connection of its own, as `pg` gives it. */
export interface RelayClient {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: unknown[] }>
  on(event: 'notification' | 'error' | 'end', listener: (argument: never) => void): unknown
  release(error?: Error | boolean): void
}

export interface RelayPool {
  connect(): Promise<RelayClient>
}

/** An event on its way to its consumers. */
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

export interface DeliveryContext {
  /** Aborts when the time limit of the delivery is over, and when the process stops. */
  readonly signal: AbortSignal
}

export interface RelayOptions {
  /**
   * Connections of the system login, two at least, directly to PostgreSQL: LISTEN keeps one, and does not pass a
   * transaction-mode PgBouncer.
   */
  readonly pool: RelayPool
  /**
   * Hands an event on; it may be called again for the same event. What it throws is tried again later, and holds back
   * the events with the same key; an error of a kind that will not pass (invalid, forbidden, unsupported) makes the
   * event a dead one at once. While a destination is away (kind `unavailable`, a refused connection), the attempts are
   * not counted. `deliverTo` makes one that fills queues.
   */
  readonly deliver: (event: DeliveredEvent, context: DeliveryContext) => Promise<unknown>
  /** Events in delivery at once, one of each key. A tenant has as many as stay free at most. @defaultValue 500 */
  readonly batch?: number
  /** How long one delivery may take; then it counts as failed. @defaultValue `'10s'` */
  readonly timeout?: Duration
  /** How long a claim lasts without being renewed: what a relay that died delays the keys that it held. @defaultValue `'6s'` */
  readonly claimDuration?: Duration
  /** Looks for events also without a notification. @defaultValue `'500ms'` */
  readonly poll?: Duration
  /** An event that could not be delivered so often is dead: it stays in the table, and those behind it go on. @defaultValue 20 */
  readonly maxAttempts?: number
  /** An event whose destination was away for so long is dead. @defaultValue `'7d'` */
  readonly maxOutage?: Duration
  /** How long PostgreSQL may take for one statement; then its connection is thrown away. @defaultValue `'10s'` */
  readonly queryTimeout?: Duration
  /** How long dead events stay in the table. @defaultValue `'30d'` */
  readonly deadRetention?: Duration
  /** The health check fails when the oldest event waits for longer. @defaultValue `'1m'` */
  readonly maxLag?: Duration
}

/** What applies where {@link RelayOptions} says nothing. */
export const relayDefaults = Object.freeze({
  batch: 500,
  timeout: '10s',
  claimDuration: '6s',
  poll: '500ms',
  maxAttempts: 20,
  maxOutage: '7d',
  queryTimeout: '10s',
  deadRetention: '30d',
  maxLag: '1m',
} as const)

const spec = {
  pool: option.collaborator<RelayPool>(['connect'], 'a pool of pg'),
  deliver: option.function<RelayOptions['deliver']>(),
  batch: option.count(relayDefaults.batch, { min: 1 }),
  timeout: option.delay(relayDefaults.timeout, { min: 1 }),
  claimDuration: option.delay(relayDefaults.claimDuration, { min: '400ms' }),
  poll: option.delay(relayDefaults.poll, { min: 1 }),
  maxAttempts: option.count(relayDefaults.maxAttempts, { min: 1 }),
  maxOutage: option.duration(relayDefaults.maxOutage),
  queryTimeout: option.delay(relayDefaults.queryTimeout, { min: 1 }),
  deadRetention: option.duration(relayDefaults.deadRetention),
  maxLag: option.duration(relayDefaults.maxLag),
}

export type ResolvedRelay = ResolvedOptions<typeof spec>

/** @throws TypeError for options that are unknown or make no sense. */
export function resolveRelayOptions(options: RelayOptions): ResolvedRelay {
  return readOptions<RelayOptions, typeof spec>(options, spec, 'relay', {
    check: ({ pool }, note) => {
      const { max } = (pool as { readonly options?: { readonly max?: unknown } }).options ?? {}
      if (max === 1) note('pool', 'has one connection, and LISTEN keeps it. Give it two at least.')
    },
  })
}
