import type { Logger } from '@quintet/core'
import type { Claims } from './claim-events.ts'
import type { Query } from './create-query.ts'
import type { FailedEvent, Outcome } from './deliver-events.ts'
import type { ResolvedRelay } from './relay-options.ts'

/** Where outcomes are written down. */
export interface Ledger {
  readonly query: Query
  readonly claims: Claims
  readonly options: ResolvedRelay
  readonly logger: Logger
}

/** Deletes what was delivered, records what failed, and gives the rest back. */
export async function settleEvents(ledger: Ledger, outcomes: readonly Outcome[]): Promise<void> {
  const { query, claims } = ledger
  const delivered = outcomes.flatMap((outcome) => outcome.delivered)
  const failures = outcomes.flatMap(({ failed }) => failed ?? [])
  const untouched = outcomes.flatMap((outcome) => outcome.untouched)
  if (delivered.length > 0) {
    await query('delete from outbox where id = any($1::uuid[]) and claimed_by = $2', [
      delivered,
      claims.relayId,
    ])
  }
  const outages = failures.filter(({ isOutage }) => isOutage)
  if (outages.length > 0) await recordOutages(ledger, outages)
  for (const failed of failures) {
    if (!failed.isOutage) await recordFailure(ledger, failed)
  }
  if (untouched.length > 0) {
    await query(
      'update outbox set claimed_by = null, claimed_until = null where id = any($1::uuid[]) and claimed_by = $2',
      [untouched, claims.relayId],
    )
  }
  claims.forget(outcomes.map(({ claim }) => claim))
}

/**
 * Puts events off whose destination is away. It uses up no attempts; the pause grows with the outage, and an event
 * whose destination stays away for too long is dead.
 */
async function recordOutages(
  { query, claims, options: { maxOutage }, logger }: Ledger,
  outages: readonly FailedEvent[],
): Promise<void> {
  const { rows } = await query(
    `update outbox set last_error = failed.reason, claimed_by = null, claimed_until = null,
       outage_since = coalesce(outage_since, clock_timestamp()),
       next_attempt_at = clock_timestamp() + (0.75 + random() / 2) * least(interval '30 s', greatest(interval '0.2 s',
         (clock_timestamp() - coalesce(outage_since, clock_timestamp())) / 2)),
       dead_at = case when clock_timestamp() - outage_since >= make_interval(secs => $3) then now() end
     from unnest($1::uuid[], $2::text[]) as failed (event, reason)
     where id = failed.event and claimed_by = $4 returning id, dead_at is not null as dead`,
    [outages.map(({ row }) => row.id), outages.map(({ text }) => text), maxOutage / 1_000, claims.relayId],
  )
  const dead = new Set(
    (rows as { id: string; dead: boolean }[]).filter((each) => each.dead).map(({ id }) => id),
  )
  for (const { row, text } of outages) {
    const isDead = dead.has(row.id)
    if (!isDead && row.outage_since !== null) continue
    logger[isDead ? 'error' : 'warn'](
      { event: row.id, topic: row.topic, reason: text, dead: isDead },
      'an event cannot be delivered now',
    )
  }
}

async function recordFailure(
  { query, claims, options: { maxAttempts }, logger }: Ledger,
  { row, text, isPermanent }: FailedEvent,
): Promise<void> {
  const attempts = row.attempts + 1
  const dead = attempts >= maxAttempts || isPermanent
  const pauseSeconds = Math.min(300, 0.25 * 2 ** Math.min(attempts, 20)) * (0.75 + Math.random() / 2)
  await query(
    `update outbox set attempts = $2, last_error = $3, next_attempt_at = clock_timestamp() + make_interval(secs => $4),
       outage_since = null, dead_at = case when $5 then now() end, claimed_by = null, claimed_until = null
     where id = $1 and claimed_by = $6`,
    [row.id, attempts, text, pauseSeconds, dead, claims.relayId],
  )
  logger[dead ? 'error' : 'warn'](
    { event: row.id, topic: row.topic, attempts, reason: text, dead },
    'an event was not delivered',
  )
}
