import { type Logger, type Principal, systemPrincipal } from '@quintet/core'
import { toQuintetError } from '@quintet/core/kit'
import { isPermanent } from '../errors.ts'
import type { DeliveredEvent, RelayClient, ResolvedRelay } from './relay-options.ts'

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

interface Failure {
  readonly row: Row
  readonly reason: unknown
}

interface Outcome {
  readonly delivered: string[]
  readonly failed: Failure[]
}

/** What is to be done after a batch: look again at once, wait to be woken, or wait because nobody takes events now. */
export type AfterBatch = 'again' | 'wait' | 'pause'

/**
 * The first pending event of each key, and those behind it. Whoever holds the first one of a key holds the key: a
 * second relay passes it over whole.
 */
const claim = `
  with heads as materialized (
    select key from outbox as event
    where dead_at is null and next_attempt_at <= now()
      and position = (
        select min(position) from outbox as pending
        where pending.key = event.key and pending.dead_at is null)
    order by position limit $1 for update skip locked
  )
  select id, topic, key, tenant_id, user_id, payload, traceparent, created_at, attempts
  from outbox where key in (select key from heads) and dead_at is null
  order by position limit $1 for update`

/**
 * The table is nearly empty most of the time, and its statistics say so also when many events wait: without the hint,
 * PostgreSQL compares each of them with every other.
 */
const begin = 'begin; set local enable_seqscan = off; set local enable_bitmapscan = off'

/** Claims, delivers and deletes one batch in one transaction of the client. */
export async function relayBatch(
  client: RelayClient,
  options: ResolvedRelay,
  logger: Logger,
): Promise<AfterBatch> {
  await client.query(begin)
  const rows = (await client.query(claim, [options.batch])).rows as Row[]
  const byKey = Map.groupBy(rows, (row) => row.key)
  const outcomes = await Promise.all([...byKey.values()].map((group) => deliverInOrder(group, options)))
  const delivered = outcomes.flatMap((outcome) => outcome.delivered)
  const failed = outcomes.flatMap((outcome) => outcome.failed)
  if (delivered.length > 0) await client.query('delete from outbox where id = any($1::uuid[])', [delivered])
  for (const failure of failed) await recordFailure(client, failure, options.maxAttempts, logger)
  await client.query('commit')
  if (failed.some(({ reason }) => isOutage(reason))) return 'pause'
  return delivered.length > 0 || failed.length > 0 ? 'again' : 'wait'
}

async function deliverInOrder(rows: readonly Row[], { deliver }: ResolvedRelay): Promise<Outcome> {
  const delivered: string[] = []
  for (const row of rows) {
    try {
      await deliver(toEvent(row))
      delivered.push(row.id)
    } catch (reason) {
      return { delivered, failed: [{ row, reason }] }
    }
  }
  return { delivered, failed: [] }
}

async function recordFailure(
  client: RelayClient,
  { row, reason }: Failure,
  maxAttempts: number,
  logger: Logger,
): Promise<void> {
  const message = reason instanceof Error ? reason.message : String(reason)
  // Nobody could take it: that says nothing about the event, however long it lasts.
  if (isOutage(reason))
    return logger.warn({ event: row.id, topic: row.topic, reason: message }, 'events cannot be delivered now')
  const attempts = row.attempts + 1
  const dead = attempts >= maxAttempts || isPermanent(toQuintetError(reason))
  const pauseSeconds = Math.min(300, 0.25 * 2 ** attempts) * (0.75 + Math.random() / 2)
  await client.query(
    `update outbox set attempts = $2, last_error = $3, next_attempt_at = clock_timestamp() + make_interval(secs => $4),
       dead_at = case when $5 then now() end where id = $1`,
    [row.id, attempts, message.slice(0, 1_000), pauseSeconds, dead],
  )
  logger[dead ? 'error' : 'warn'](
    { event: row.id, topic: row.topic, attempts, reason: message, dead },
    'an event was not delivered',
  )
}

function isOutage(reason: unknown): boolean {
  const { kind } = toQuintetError(reason)
  return kind === 'unavailable' || kind === 'closed'
}

function toEvent(row: Row): DeliveredEvent {
  return {
    id: row.id,
    topic: row.topic,
    key: row.key,
    payload: row.payload,
    principal: principalOf(row),
    traceparent: row.traceparent ?? undefined,
    createdAt: row.created_at.toISOString(),
  }
}

/** A row proves the tenant and the user, because the policy of the table does; roles it cannot prove. */
function principalOf({ tenant_id: tenantId, user_id: userId }: Row): Principal {
  if (userId === null || tenantId === null) return systemPrincipal('outbox', tenantId)
  return Object.freeze({
    kind: 'user',
    userId,
    tenantId,
    sessionId: null,
    expiresAt: null,
    roles: Object.freeze([]),
    permissions: Object.freeze([]),
    claims: Object.freeze({}),
  })
}
