export type { DeadLetter, DeadLettersOptions } from './dead-letters.ts'
export {
  defineJob,
  jobDefaults,
  type BackoffOptions,
  type JobDefinition,
  type JobOptions,
  type RetentionOptions,
} from './define-job.ts'
export type { Envelope, EnvelopeAddress, EnvelopeContext, EnvelopeSigner, SecretText } from './envelope.ts'
export { deliverTo, type Topics } from './deliver-to.ts'
export { giveUp, QueueError, type QueueErrorCode } from './errors.ts'
export { pruneInbox, withInbox } from './inbox.ts'
export type { JobSchedule } from './job-schedule.ts'
export { createLeases, leasesDefaults, type Lease, type Leases, type LeasesOptions } from './leases.ts'
export { inboxMigration, leaseMigration, outboxMigration, type TableMigrationOptions } from './migrations.ts'
export { createOutbox, type DeadEvent, type Outbox, type OutboxEvent } from './outbox.ts'
export type { QueueCounts } from './queue-counts.ts'
export {
  createQueue,
  queueDefaults,
  type Enqueued,
  type EnqueueOptions,
  type Queue,
  type QueueOptions,
} from './queue.ts'
export {
  recoverStale,
  recoverStaleDefaults,
  type RecoverStaleOptions,
  type RecoveryReport,
} from './recover-stale.ts'
export {
  relayDefaults,
  type DeliveredEvent,
  type RelayClient,
  type RelayOptions,
  type RelayPool,
} from './relay-options.ts'
export { relay } from './relay.ts'
export { schedule, type ScheduleOptions } from './schedule.ts'
export type { KyselyExecutor, PgExecutor, SqlExecutor } from './sql-executor.ts'
export { workerDefaults, type WorkerOptions } from './worker-options.ts'
export { worker, type JobCall, type JobHandler } from './worker.ts'
