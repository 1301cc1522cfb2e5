import { setTimeout as delay } from 'node:timers/promises'
import type { Transport } from '@quintet/core'
import { aborted, type RunningTransport, type TransportHost } from '@quintet/core/kit'
import { createClaims, type Claims } from './claim-events.ts'
import { createQuery, type Query } from './create-query.ts'
import { deliverInOrder, type Outcome } from './deliver-events.ts'
import { listenToOutbox, type OutboxListener } from './notifications.ts'
import { addRelayHealth } from './relay-health.ts'
import { resolveRelayOptions, type RelayOptions, type ResolvedRelay } from './relay-options.ts'
import { settleEvents } from './settle-events.ts'
import { createWakeSignal, type WakeSignal } from './wake-signal.ts'

/** How long deliveries may take to end once the process closes, in milliseconds. */
const closeTime = 500
const longestPause = 5_000
/** The pause after a first look that found nothing, once a notification came: its transaction may still be open. */
const shortestLook = 2
const pruneEvery = 3_600_000
const pruneAtOnce = 1_000
const pruneAgainAfter = 100

/**
 * A transport that hands the events of the outbox on, as soon as they are committed.
 *
 * It claims events for a few seconds, renews the claim while they are in delivery, and deletes what was delivered; no
 * transaction is open meanwhile. A relay that dies loses no event: another delivers again what it had claimed. Events
 * with one key keep their order, also under several relays.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * const outboxRelay = relay({ pool: systemPool, deliver: deliverTo(queue, { 'ledger.transferred': recordEvent }) })
 */
export function relay(options: RelayOptions): Transport {
  const resolved = resolveRelayOptions(options)
  return {
    name: 'outbox-relay',
    start: (host) => Promise.resolve(startRelay(resolved, host)),
  }
}

interface Relay {
  readonly options: ResolvedRelay
  readonly host: TransportHost
  readonly query: Query
  readonly claims: Claims
  readonly wake: WakeSignal
  /** Aborts when nothing more is to be claimed. */
  readonly draining: AbortController
  /** Aborts when deliveries are to end. */
  readonly stopping: AbortController
  /** What has come of deliveries, not yet written. */
  readonly outcomes: Outcome[]
}

function startRelay(options: ResolvedRelay, host: TransportHost): RunningTransport {
  const query = createQuery(options.pool, options.queryTimeout)
  const wake = createWakeSignal()
  const onTrouble = (error: unknown): void =>
    host.logger.warn({ err: error }, 'the outbox relay could not renew its claims')
  const running: Relay = {
    options,
    host,
    query,
    wake,
    claims: createClaims(query, { places: options.batch, claimDuration: options.claimDuration }, onTrouble),
    draining: new AbortController(),
    stopping: new AbortController(),
    outcomes: [],
  }
  running.draining.signal.addEventListener('abort', wake.set, { once: true })
  const working = work(running)
  addRelayHealth(query, options, host)

  const drain = (): Promise<void> => {
    running.draining.abort()
    return working
  }
  return {
    url: undefined,
    async drain(_reason, signal) {
      const stop = (): void => running.stopping.abort(signal.reason)
      if (signal.aborted) stop()
      signal.addEventListener('abort', stop, { once: true })
      await Promise.race([drain(), aborted(signal).then(() => delay(closeTime))])
      signal.removeEventListener('abort', stop)
    },
    async close() {
      running.stopping.abort(new DOMException('The process stops.', 'AbortError'))
      await Promise.race([drain(), delay(closeTime)])
      running.claims.stopRenewing()
    },
  }
}

/** Claims, delivers and settles until the relay is drained, and then until what it had claimed is settled. */
async function work(running: Relay): Promise<void> {
  const { options, host, wake, claims, outcomes, draining } = running
  const notifications = createNotifications(options, wake)
  const prune = createPruner(running)
  const outage = createPause()
  let idle = shortestLook
  const isDone = (): boolean => draining.signal.aborted && claims.size === 0
  while (!isDone()) {
    wake.reset()
    try {
      await settle(running, outage)
      if (!draining.signal.aborted) {
        // Listens before it looks, so that nothing is committed unseen in between.
        await notifications.ensure()
        const found = outage.left() > 0 ? 0 : await claimAndDeliver(running)
        await prune()
        idle = found > 0 || notifications.heard() ? shortestLook : Math.min(options.poll, idle * 2)
      }
    } catch (error) {
      if (draining.signal.aborted) break
      outage.begin()
      host.logger.warn({ err: error, retryInMs: outage.left() }, 'the outbox relay will try again')
    }
    if (isDone() || (outcomes.length > 0 && outage.left() === 0)) continue
    await wake.wait(draining.signal.aborted ? longestPause : outage.left() || idle)
  }
  claims.stopRenewing()
  notifications.close()
}

/** Writes down what came of deliveries since the last time. */
async function settle(
  { query, claims, outcomes, options, host: { logger } }: Relay,
  outage: Pause,
): Promise<void> {
  const taken = outcomes.splice(0)
  if (taken.length === 0) return
  try {
    await settleEvents({ query, claims, options, logger }, taken)
    outage.end()
  } catch (error) {
    outcomes.unshift(...taken)
    throw error
  }
}

/** Starts the delivery of keys as far as there is room; answers how many. */
async function claimAndDeliver({ claims, options, stopping, outcomes, wake }: Relay): Promise<number> {
  const claimed = await claims.claim()
  for (const claim of claimed) {
    void deliverInOrder(claim, options, stopping.signal).then((outcome) => {
      outcomes.push(outcome)
      wake.set()
    })
  }
  return claimed.length
}

/** Forgets dead events after their time, a part at once so that deliveries do not wait. */
function createPruner({ query, options }: Relay): () => Promise<void> {
  let dueAt = 0
  return async () => {
    if (performance.now() < dueAt) return
    dueAt = performance.now() + pruneEvery
    const { rows } = await query(
      `delete from outbox where id in (
         select id from outbox where dead_at < now() - make_interval(secs => $1) order by dead_at limit $2)
       returning 1`,
      [options.deadRetention / 1_000, pruneAtOnce],
    )
    if (rows.length === pruneAtOnce) dueAt = performance.now() + pruneAgainAfter
  }
}

interface Pause {
  /** Lengthens the pause, unless it lasts still. */
  begin(): void
  end(): void
  /** Milliseconds. */
  left(): number
}

function createPause(): Pause {
  let length = 0
  let until = 0
  const left = (): number => Math.max(0, Math.ceil(until - performance.now()))
  return {
    begin() {
      if (left() > 0) return
      length = Math.min(longestPause, length * 2 + 100)
      until = performance.now() + length
    },
    end() {
      if (left() === 0) length = 0
    },
    left,
  }
}

interface Notifications {
  /** Listens, again if the connection was lost. */
  ensure(): Promise<void>
  /** Whether one came since the last question. */
  heard(): boolean
  close(): void
}

function createNotifications({ pool, queryTimeout }: ResolvedRelay, wake: WakeSignal): Notifications {
  let listener: OutboxListener | undefined
  let some = false
  const onEvent = (): void => {
    some = true
    wake.set()
  }
  return {
    async ensure() {
      if (listener === undefined || listener.lost)
        listener = await listenToOutbox(pool, queryTimeout, onEvent)
    },
    heard() {
      const heard = some
      some = false
      return heard
    },
    close: () => listener?.close(),
  }
}
