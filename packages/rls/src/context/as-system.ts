import { createScope, currentScope, runWholly, type RlsContext } from './rls-context.ts'

const systemAlone: RlsContext = Object.freeze({
  tenantId: null,
  userId: null,
  roles: Object.freeze([]),
  isSystem: true,
})

/**
 * Runs the function under the system login: the pools of {@link createRlsPool} hand out connections of
 * their system pool, and each of them records the reason before its first statement.
 *
 * The tenant and user of the surrounding context stay readable as settings, so that triggers can record
 * who caused the work. The surrounding context is back when the function has ended.
 *
 * @param reason for the audit record, e.g. `'nightly settlement'`.
 * @throws TypeError when the reason is empty.
 */
export function asSystem<Result>(reason: string, run: () => Result): Result {
  if (typeof reason !== 'string' || reason.trim() === '') {
    throw new TypeError('asSystem: give the reason, it is written to the audit record.')
  }
  const outer = currentScope()?.context
  const context = outer ? Object.freeze({ ...outer, isSystem: true }) : systemAlone
  return runWholly(createScope(context, reason), run)
}
