import { currentInvocation, type Principal } from '@quintet/core'
import { execute, type SqlExecutor } from './sql-executor.ts'

/** Something that happened, for others to hear of. */
export interface OutboxEvent {
  /** What kind of thing, e.g. `ledger.transferred`. */
  readonly topic: string
  /** Events with the same key are delivered one after another, in the order in which they were committed. */
  readonly key: string
  /** Facts, as JSON. */
  readonly payload: unknown
  /** For whom its jobs run. @defaultValue the principal of the running call */
  readonly principal?: Principal
}

/** Where events are written, in the transaction of what they tell of. */
export interface Outbox {
  /** Adds an event: it exists exactly when the transaction commits. */
  add(transaction: SqlExecutor, event: OutboxEvent): Promise<void>
}

/** Makes the outbox over the table of `outboxMigration`. */
export function createOutbox(): Outbox {
  return {
    async add(transaction, event) {
      const invocation = currentInvocation()
      const principal = event.principal ?? invocation?.principal
      if (principal === undefined || principal.kind === 'anonymous') {
        throw new TypeError(
          `outbox ${event.topic}: an event belongs to a user or to the system; give a principal.`,
        )
      }
      await execute(
        transaction,
        'insert into outbox (topic, key, tenant_id, user_id, payload, traceparent) values ($1, $2, $3, $4, $5, $6)',
        [
          event.topic,
          event.key,
          principal.tenantId,
          principal.userId,
          JSON.stringify(event.payload),
          invocation?.traceparent ?? null,
        ],
      )
    },
  }
}
