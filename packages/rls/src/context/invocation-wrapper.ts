import type { InvocationWrapper, Principal } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { asSystem } from './as-system.ts'
import { createScope, parseRlsContext, runWholly, type RlsContextInput } from './rls-context.ts'
import { failedStatement } from '../sql/statement-note.ts'
import { mapPostgresError } from '../sql/postgres-errors.ts'

export interface RlsInvocationWrapperOptions {
  /**
   * The context of a principal; null for none, so that every statement is refused.
   * @defaultValue {@link contextOfPrincipal}
   */
  readonly map?: (principal: Principal) => RlsContextInput | null
}

/**
 * The context of a principal: its tenant, user and roles. Quintet's own work for one tenant is held to
 * that tenant; an anonymous caller gets none.
 */
export function contextOfPrincipal(principal: Principal): RlsContextInput | null {
  if (principal.kind === 'anonymous') return null
  const { tenantId, userId, roles } = principal
  return { tenantId, userId, roles, isSystem: principal.kind === 'system' }
}

const spec = { map: option.function(contextOfPrincipal) }

/**
 * Opens the row-level security scope of a call's principal around its handler, on every surface.
 *
 * Work of the system that belongs to no tenant runs under {@link asSystem}, with its actor as reason.
 * Errors of PostgreSQL leave as errors of ours, without SQL; the statement goes to the log.
 */
export function createRlsInvocationWrapper(options: RlsInvocationWrapperOptions = {}): InvocationWrapper {
  const { map } = readOptions<RlsInvocationWrapperOptions, typeof spec>(
    options,
    spec,
    'createRlsInvocationWrapper',
  )

  return async (invocation, next) => {
    const { principal } = invocation
    try {
      if (map === contextOfPrincipal && principal.kind === 'system' && principal.tenantId === null) {
        return await asSystem(principal.actor, next)
      }
      const context = map(principal)
      const scope = context === null ? undefined : createScope(parseRlsContext(context))
      return await runWholly(scope, next)
    } catch (error) {
      const mapped = mapPostgresError(error)
      if (mapped === undefined) throw error
      // Asking for the logger of a call makes one.
      invocation.logger.warn(
        { err: error, sqlState: (error as { code?: unknown }).code, statement: failedStatement(error) },
        'PostgreSQL refused a statement',
      )
      throw mapped
    }
  }
}
