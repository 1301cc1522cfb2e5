import { QuintetError, type QuintetErrorOptions } from '@quintet/core'

/** The codes of this package. */
export type RlsErrorCode =
  | 'ERR_RLS_BACKUP_INVALID'
  | 'ERR_RLS_BAD_CURSOR'
  | 'ERR_RLS_CONFLICT'
  | 'ERR_RLS_DATABASE_ERROR'
  | 'ERR_RLS_DATABASE_EXISTS'
  | 'ERR_RLS_DATABASE_IN_USE'
  | 'ERR_RLS_DATABASE_UNAVAILABLE'
  | 'ERR_RLS_DRIVER_WRAPPED'
  | 'ERR_RLS_FORBIDDEN'
  | 'ERR_RLS_INVALID_CONTEXT'
  | 'ERR_RLS_INVALID_VALUE'
  | 'ERR_RLS_KEY_REUSED'
  | 'ERR_RLS_LOCK_LOST'
  | 'ERR_RLS_LOCK_TIMEOUT'
  | 'ERR_RLS_LOGIN_EXISTS'
  | 'ERR_RLS_MIGRATION_CHANGED'
  | 'ERR_RLS_MIGRATION_FAILED'
  | 'ERR_RLS_MIGRATION_ORDER'
  | 'ERR_RLS_MIGRATIONS_PENDING'
  | 'ERR_RLS_NO_SYSTEM_POOL'
  | 'ERR_RLS_TENANT_BUSY'
  | 'ERR_RLS_TIMEOUT'
  | 'ERR_RLS_UNSAFE_ROLES'
  | 'ERR_RLS_VERSION_CONFLICT'
  | 'ERR_RLS_WRONG_SCOPE'

/** What this package throws. The message never carries SQL; the database's own error is the `cause`. */
export class RlsError extends QuintetError<RlsErrorCode> {
  constructor(message: string, options: QuintetErrorOptions<RlsErrorCode>) {
    super(message, options)
  }
}
