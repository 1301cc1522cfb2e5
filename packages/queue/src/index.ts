export { defineJob, jobDefaults, type JobDefinition, type JobOptions } from './define-job.ts'
export type { SecretText } from './envelope.ts'
export { QueueError, type QueueErrorCode } from './errors.ts'
export { withInbox } from './inbox.ts'
export { createLeases, leasesDefaults, type Lease, type Leases, type LeasesOptions } from './leases.ts'
export { inboxMigration, leaseMigration, outboxMigration, type TableMigrationOptions } from './migrations.ts'
export { createOutbox, type Outbox, type OutboxEvent } from './outbox.ts'
export {
  createQueue,
  queueDefaults,
  type DeadLetter,
  type Enqueued,
  type EnqueueOptions,
  type Queue,
  type QueueOptions,
} from './queue.ts'
export {
  relay,
  relayDefaults,
  type DeliveredEvent,
  type RelayClient,
  type RelayOptions,
  type RelayPool,
} from './relay.ts'
export type { KyselyExecutor, PgExecutor, SqlExecutor } from './sql-executor.ts'
export { worker, workerDefaults, type JobCall, type JobHandler, type WorkerOptions } from './worker.ts'
