export {
  advisoryLockDefaults,
  advisoryLockKey,
  withAdvisoryLock,
  type AdvisoryLockOptions,
  type LockPool,
} from './data/advisory-lock.ts'
export {
  deleteInBatches,
  deleteInBatchesDefaults,
  type DeleteInBatchesOptions,
} from './data/delete-in-batches.ts'
export {
  defineKeyset,
  type Keyset,
  type KeysetColumn,
  type KeysetPage,
  type KeysetRequest,
  type KeysetType,
  type PageableQuery,
} from './data/keyset.ts'
export {
  eraseIdempotencyKeys,
  idempotencyPolicy,
  idempotencyTableSql,
  pruneIdempotencyKeys,
  withIdempotency,
  type IdempotentCall,
} from './data/idempotency.ts'
export { backupDatabase, backupDefaults, type BackupOptions, type BackupReport } from './backup/backup.ts'
export { restoreDatabase, type RestoreOptions } from './backup/restore.ts'
export { verifyBackup, type VerifyBackupOptions } from './backup/verify-backup.ts'
export {
  createSingletonJob,
  singletonJobDefaults,
  type SingletonJob,
  type SingletonJobOptions,
} from './data/singleton-job.ts'
export { updateVersioned, type VersionedUpdate } from './data/versions.ts'
