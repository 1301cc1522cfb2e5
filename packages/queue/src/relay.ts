import {
  parseDuration,
  refuseUnknownKeys,
  systemPrincipal,
  type Duration,
  type Principal,
  type RunningTransport,
  type Transport,
  type TransportHost,
} from '@quintet/core'

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
  readonly principal: Principal
  readonly traceparent: string | undefined
  /** When it was committed, roughly; ISO 8601. */
  readonly createdAt: string
}

export interface RelayOptions {
  /** Connections of the system login, directly to PostgreSQL: LISTEN does not pass a transaction-mode PgBouncer. */
  readonly pool: RelayPool
  /** Hands an event on; it may be called again for the same event. What it throws is tried again later. */
  readonly deliver: (event: DeliveredEvent) => Promise<void>
  /** Events in one transaction. @defaultValue 100 */
  readonly batch?: number
  /** Looks for events also without a notification. @defaultValue `'5s'` */
  readonly poll?: Duration
  /** An event that could not be delivered so often is dead: it stays in the table, and those behind it go on. @defaultValue 20 */
  readonly maxAttempts?: number
}

export const relayDefaults = Object.freeze({ batch: 100, poll: '5s', maxAttempts: 20 } as const)

interface Row {
  readonly id: string
  readonly topic: string
  readonly key: string
  readonly tenant_id: string | null
  readonly user_id: string | null
  readonly payload: unknown
  readonly traceparent: string | null
  readonly created_at: Date
  readonly attempts: number
}

/**
 * A transport that hands the events of the outbox on, as soon as they are committed.
 *
 * Each batch is claimed, delivered and deleted in one transaction, so two relays never hold the same event, and an
 * event is lost by no crash. Of the events with one key, only the first is ever in delivery.
 */
export function relay(options: RelayOptions): Transport {
  refuseUnknownKeys(options, ['pool', 'deliver', 'batch', 'poll', 'maxAttempts'], 'relay')
  const poll = parseDuration(options.poll ?? relayDefaults.poll, 'relay: poll')
  const batch = options.batch ?? relayDefaults.batch
  const maxAttempts = options.maxAttempts ?? relayDefaults.maxAttempts
  for (const [name, value] of Object.entries({ batch, maxAttempts })) {
    if (!Number.isInteger(value) || value < 1)
      throw new TypeError(`relay: ${name} must be a whole number from 1.`)
  }
  return {
    name: 'outbox-relay',
    async start(host) {
      return startRelay({ pool: options.pool, deliver: options.deliver, poll, batch, maxAttempts }, host)
    },
  }
}

interface ResolvedRelay {
  readonly pool: RelayPool
  readonly deliver: (event: DeliveredEvent) => Promise<void>
  readonly poll: number
  readonly batch: number
  readonly maxAttempts: number
}

async function startRelay(options: ResolvedRelay, host: TransportHost): Promise<RunningTransport> {
  const stopping = new AbortController()
  let wake = Promise.withResolvers<void>()
  const ring = (): void => wake.resolve()
  stopping.signal.addEventListener('abort', ring, { once: true })

  const working = (async () => {
    let listener: RelayClient | undefined
    let pause = 0
    while (!stopping.signal.aborted) {
      wake = Promise.withResolvers<void>()
      if (stopping.signal.aborted) break
      try {
        listener ??= await listen(options.pool, ring, () => {
          listener = undefined
          ring()
        })
        while (!stopping.signal.aborted && (await relayBatch(options, host))) {}
        pause = 0
      } catch (error) {
        pause = Math.min(5_000, pause * 2 + 100)
        host.logger.warn({ err: error, retryInMs: pause }, 'the outbox relay will try again')
      }
      const timer = setTimeout(ring, pause > 0 ? pause : options.poll)
      await wake.promise
      clearTimeout(timer)
    }
    listener?.release(true)
  })()

  const stop = async (): Promise<void> => {
    stopping.abort()
    await working
  }
  return { url: undefined, drain: stop, close: stop }
}

async function listen(pool: RelayPool, onEvent: () => void, onLost: () => void): Promise<RelayClient> {
  const client = await pool.connect()
  client.on('notification', onEvent)
  client.on('error', onLost)
  client.on('end', onLost)
  await client.query('listen outbox')
  return client
}

/** Relays one batch. True when there may be more to do at once. */
async function relayBatch(options: ResolvedRelay, host: TransportHost): Promise<boolean> {
  const client = await options.pool.connect()
  let broken: Error | undefined
  try {
    await client.query('begin')
    // The first pending event of each key; a key that another relay works on is passed over whole.
    const { rows } = await client.query(
      `select id, topic, key, tenant_id, user_id, payload, traceparent, created_at, attempts
       from outbox as event
       where dead_at is null and next_attempt_at <= now()
         and not exists (
           select 1 from outbox as earlier
           where earlier.key = event.key and earlier.position < event.position and earlier.dead_at is null)
       order by position limit $1 for update skip locked`,
      [options.batch],
    )
    const events = rows as Row[]
    const outcomes = await Promise.allSettled(events.map((row) => options.deliver(toEvent(row))))
    const delivered: string[] = []
    for (const [index, outcome] of outcomes.entries()) {
      const row = events[index] as Row
      if (outcome.status === 'fulfilled') delivered.push(row.id)
      else await recordFailure(client, row, outcome.reason, options.maxAttempts, host)
    }
    if (delivered.length > 0) await client.query('delete from outbox where id = any($1::uuid[])', [delivered])
    await client.query('commit')
    return delivered.length > 0
  } catch (error) {
    broken = error as Error
    throw error
  } finally {
    client.release(broken)
  }
}

async function recordFailure(
  client: RelayClient,
  row: Row,
  reason: unknown,
  maxAttempts: number,
  host: TransportHost,
): Promise<void> {
  const attempts = row.attempts + 1
  const dead = attempts >= maxAttempts
  const message = reason instanceof Error ? reason.message : String(reason)
  const pauseSeconds = Math.min(300, 0.5 * 2 ** attempts) * (0.75 + Math.random() / 2)
  await client.query(
    `update outbox set attempts = $2, last_error = $3, next_attempt_at = now() + make_interval(secs => $4),
       dead_at = case when $5 then now() end where id = $1`,
    [row.id, attempts, message.slice(0, 1000), pauseSeconds, dead],
  )
  host.logger[dead ? 'error' : 'warn'](
    { event: row.id, topic: row.topic, attempts, reason: message, dead },
    'an event was not delivered',
  )
}

function toEvent(row: Row): DeliveredEvent {
  const principal: Principal =
    row.user_id !== null && row.tenant_id !== null
      ? {
          kind: 'user',
          userId: row.user_id,
          tenantId: row.tenant_id,
          sessionId: null,
          expiresAt: null,
          roles: [],
          permissions: [],
          claims: {},
        }
      : systemPrincipal('outbox', row.tenant_id)
  return {
    id: row.id,
    topic: row.topic,
    key: row.key,
    payload: row.payload,
    principal,
    traceparent: row.traceparent ?? undefined,
    createdAt: row.created_at.toISOString(),
  }
}
