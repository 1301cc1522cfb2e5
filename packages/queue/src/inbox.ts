import { execute, type SqlExecutor } from './sql-executor.ts'

/**
 * Runs the function once for each event, in the transaction in which its effect is written: a job that comes again
 * after a crash changes nothing.
 *
 * @param consumer names who takes the event; each consumer has it once.
 * @returns whether the function ran.
 */
export async function withInbox(
  transaction: SqlExecutor,
  event: { readonly consumer: string; readonly eventId: string; readonly tenantId: string },
  run: () => Promise<void>,
): Promise<boolean> {
  const rows = await execute(
    transaction,
    'insert into inbox (consumer, event_id, tenant_id) values ($1, $2, $3) on conflict do nothing returning event_id',
    [event.consumer, event.eventId, event.tenantId],
  )
  if (rows.length === 0) return false
  await run()
  return true
}
