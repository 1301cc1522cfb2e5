import type { Logger } from '@quintet/core'
import { RlsError } from '../errors.ts'
import { runInScope, type RlsScope } from './rls-context.ts'

/** One use of the system login, as it is recorded before the first statement. */
export interface SystemAccess {
  readonly reason: string
  /** For whom the surrounding code worked when it asked, if for anybody. */
  readonly tenantId: string | null
  readonly userId: string | null
}

export type AuditSystemAccess = (access: SystemAccess) => void | Promise<void>

/**
 * Records the first use of each system scope; later connections of the same scope wait for that record. What the
 * audit itself sends to the database is system access that needs no record of its own.
 */
export function createSystemAudit(
  audit: AuditSystemAccess | undefined,
  logger: Logger,
): (scope: RlsScope) => Promise<void> {
  const record: AuditSystemAccess =
    audit ?? ((access) => logger.info({ ...access }, 'system access to the database'))
  const recorded = new WeakMap<RlsScope, Promise<void>>()
  return (scope) => {
    const known = recorded.get(scope)
    if (known) return known
    const { tenantId, userId } = scope.context
    const auditScope: RlsScope = { ...scope }
    recorded.set(auditScope, Promise.resolve())
    const pending = runInScope(auditScope, async () =>
      record({ reason: scope.systemReason ?? '', tenantId, userId }),
    )
    recorded.set(scope, pending)
    return pending
  }
}

export function noSystemPool(reason: string): RlsError {
  return new RlsError('The database has no system login here.', {
    code: 'ERR_RLS_NO_SYSTEM_POOL',
    kind: 'forbidden',
    cause: new Error(`asSystem(${JSON.stringify(reason)}): give createRlsPool a system pool.`),
  })
}
