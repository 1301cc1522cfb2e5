export type { DeadLetter, DeadLettersOptions } from './jobs/dead-letters.ts'
export {
  defineJob,
  jobDefaults,
  type BackoffOptions,
  type JobDefinition,
  type JobOptions,
  type RetentionOptions,
} from './jobs/define-job.ts'
export type {
  Envelope,
  EnvelopeAddress,
  EnvelopeContext,
  EnvelopeSigner,
  SecretText,
} from './jobs/envelope.ts'
export { deliverTo, type Topics } from './outbox/deliver-to.ts'
export {
  defineTopics,
  type EventOf,
  type Subscription,
  type TopicDefinitions,
  type TopicSchemas,
} from './events/define-topics.ts'
export {
  defineEvent,
  defineEvents,
  type Audience,
  type EventDefinition,
  type EventDefinitions,
  type EventOptions,
} from './events/define-event.ts'
export type { Erased, ErasureSubject } from './jobs/erase-jobs.ts'
export {
  createEventBus,
  type EventBus,
  type EventBusOptions,
  type PublishOptions,
} from './events/event-bus.ts'
export { giveUp, QueueError, type QueueErrorCode } from './errors.ts'
export { pruneInbox, withInbox } from './outbox/inbox.ts'
export type { JobSchedule } from './schedules/job-schedule.ts'
export { createLeases, leasesDefaults, type Lease, type Leases, type LeasesOptions } from './leases/leases.ts'
export {
  inboxMigration,
  leaseMigration,
  outboxMigration,
  type TableMigrationOptions,
} from './postgres/migrations.ts'
export { createOutbox, type DeadEvent, type Outbox, type OutboxEvent } from './outbox/outbox.ts'
export { queueRedisAcl, type QueueRedisAclOptions } from './jobs/redis-acl.ts'
export type { QueueCounts } from './jobs/queue-counts.ts'
export {
  createQueue,
  queueDefaults,
  type Enqueued,
  type EnqueueOptions,
  type Queue,
  type QueueOptions,
} from './jobs/create-queue.ts'
export {
  recoverStale,
  recoverStaleDefaults,
  type RecoverStaleOptions,
  type RecoveryReport,
} from './leases/recover-stale.ts'
export {
  relayDefaults,
  type DeliveredEvent,
  type RelayClient,
  type RelayOptions,
  type RelayPool,
} from './outbox/relay-options.ts'
export { relay } from './outbox/relay.ts'
export { schedule, type ScheduleOptions } from './schedules/schedule.ts'
export type { KyselyExecutor, PgExecutor, SqlExecutor } from './postgres/sql-executor.ts'
export { workerDefaults, type WorkerOptions } from './worker/worker-options.ts'
export type { JobCall, JobHandler } from './worker/job-call.ts'
export { worker } from './worker/worker.ts'
