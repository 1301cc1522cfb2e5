export {
  advisoryLockDefaults,
  advisoryLockKey,
  withAdvisoryLock,
  type AdvisoryLockOptions,
  type LockPool,
} from './data/advisory-lock.ts'
export { backupDatabase, type BackupOptions, type BackupReport } from './backup/backup.ts'
export { restoreDatabase, type RestoreOptions } from './backup/restore.ts'
export { verifyBackup, type VerifyBackupOptions } from './backup/verify-backup.ts'
export {
  createSingletonJob,
  singletonJobDefaults,
  type SingletonJob,
  type SingletonJobOptions,
} from './data/singleton-job.ts'
export { updateVersioned, type VersionedUpdate } from './data/versions.ts'
