import type { Logger } from '@quintet/core'
import { toQuintetError } from '@quintet/core/kit'
import { isOutage, isPermanent } from '../errors.ts'
import type { Claims, EventRow, Query } from './claim-events.ts'
import type { Outcome } from './deliver-events.ts'

/** Deletes what was delivered, records what failed, and gives the rest back; answers whether there is an outage. */
export async function settleEvents(
  query: Query,
  claims: Claims,
  outcomes: readonly Outcome[],
  maxAttempts: number,
  logger: Logger,
): Promise<{ readonly outage: boolean }> {
  const delivered = outcomes.flatMap((outcome) => outcome.delivered)
  const failures = outcomes.flatMap(({ failed }) => failed ?? [])
  const outages = failures.filter(({ reason }) => isOutage(reason))
  const released = [...outcomes.flatMap(({ untouched }) => untouched), ...outages.map(({ row }) => row.id)]
  if (delivered.length > 0) {
    await query('delete from outbox where id = any($1::uuid[]) and claimed_by = $2', [
      delivered,
      claims.relayId,
    ])
  }
  for (const { row, reason } of failures) {
    if (!isOutage(reason)) await recordFailure(query, claims, row, reason, maxAttempts, logger)
  }
  if (released.length > 0) {
    await query(
      'update outbox set claimed_by = null, claimed_until = null where id = any($1::uuid[]) and claimed_by = $2',
      [released, claims.relayId],
    )
  }
  claims.forget([...delivered, ...failures.map(({ row }) => row.id), ...released])
  const [first] = outages
  if (first !== undefined)
    logger.warn({ err: first.reason, topic: first.row.topic }, 'events cannot be delivered now')
  return { outage: outages.length > 0 }
}

async function recordFailure(
  query: Query,
  claims: Claims,
  row: EventRow,
  reason: unknown,
  maxAttempts: number,
  logger: Logger,
): Promise<void> {
  // PostgreSQL keeps no NUL in a text, and no half of a surrogate pair.
  const message = (reason instanceof Error ? reason.message : String(reason))
    .replaceAll('\0', '')
    .toWellFormed()
  const attempts = row.attempts + 1
  const dead = attempts >= maxAttempts || isPermanent(toQuintetError(reason))
  const pauseSeconds = Math.min(300, 0.25 * 2 ** Math.min(attempts, 20)) * (0.75 + Math.random() / 2)
  await query(
    `update outbox set attempts = $2, last_error = $3, next_attempt_at = clock_timestamp() + make_interval(secs => $4),
       dead_at = case when $5 then now() end, claimed_by = null, claimed_until = null
     where id = $1 and claimed_by = $6`,
    [row.id, attempts, message.slice(0, 1_000), pauseSeconds, dead, claims.relayId],
  )
  logger[dead ? 'error' : 'warn'](
    { event: row.id, topic: row.topic, attempts, reason: message, dead },
    'an event was not delivered',
  )
}
