import type { Duration } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { assertText } from '../postgres/assert-text.ts'
import { deleteInBatches } from '../postgres/delete-in-batches.ts'
import { assertTransaction, execute, type SqlExecutor } from '../postgres/sql-executor.ts'

/**
 * Runs the function once for each event, in the transaction in which its effect is written: a job that comes again
 * after a crash changes nothing.
 *
 * A second transaction for the same event waits until the first has ended, and runs the function if that rolled back.
 *
 * @returns whether the function ran.
 * @throws QueueError `ERR_QUEUE_BAD_NAME`, before anything is sent to PostgreSQL; TypeError for what is plainly no
 *   transaction.
 */
export async function withInbox(
  transaction: SqlExecutor,
  event: {
    /** Who takes the event; each consumer has it once. */
    readonly consumer: string
    /** The id of an event or of a job, e.g. the `jobId` of a handler: what is replayed under it runs no second time. */
    readonly eventId: string
    /** Null for work of the system for no tenant; with the system login. */
    readonly tenantId: string | null
  },
  run: () => Promise<unknown>,
): Promise<boolean> {
  refuseUnknownKeys(event, ['consumer', 'eventId', 'tenantId'], 'withInbox')
  assertText(event.consumer, 500, 'withInbox: consumer')
  assertText(event.eventId, 1_000, 'withInbox: eventId')
  if (event.tenantId !== null) assertText(event.tenantId, 500, 'withInbox: tenantId')
  assertTransaction(transaction, 'withInbox')
  const rows = await execute(
    transaction,
    'insert into inbox (consumer, event_id, tenant_id) values ($1, $2, $3) on conflict do nothing returning event_id',
    [event.consumer, event.eventId, event.tenantId ?? ''],
  )
  if (rows.length === 0) return false
  await run()
  return true
}

/**
 * Forgets events that were taken longer ago than any of them could come again; with the system login.
 *
 * @returns how many.
 */
export async function pruneInbox(system: SqlExecutor, olderThan: Duration): Promise<number> {
  const seconds = parseDuration(olderThan, 'pruneInbox: olderThan') / 1_000
  return deleteInBatches(system, 'inbox', 'received_at < now() - make_interval(secs => $1)', [seconds])
}
