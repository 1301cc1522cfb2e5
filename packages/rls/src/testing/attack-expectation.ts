import type { Operation, TablePolicy } from '../policies/table-policy.ts'
import type { AttackActor, AttackOperation, AttackOutcome } from './attack-case.ts'

/** What must come of an attempt on another's row (or one's own), by what the policies of the table open. */
export function expectedOutcome(
  operation: AttackOperation,
  actor: AttackActor,
  rules: readonly TablePolicy[],
): AttackOutcome {
  if (actor === 'malformed') return 'invalid'
  if (actor === 'none') return 'refused'
  if (actor === 'system') return 'done'
  const needed: readonly Operation[] = operation === 'upsert' ? ['insert', 'update', 'select'] : [operation]
  const granted = needed.every((one) => opening(one, rules).length > 0)
  // An UPDATE or DELETE that names its row reads it, so it needs the right to see the table at all.
  const readable = opening('select', rules).length > 0
  if (!granted || ((operation === 'update' || operation === 'delete') && !readable)) return 'refused'
  if (actor === 'own') return 'done'
  const shared = needed.every((one) =>
    opening(one, rules).some(({ tenantColumn, userColumn }) => tenantColumn === null && userColumn === null),
  )
  if (shared) return 'done'
  return operation === 'insert' || operation === 'upsert' ? 'refused' : 'no rows'
}

function opening(operation: Operation, rules: readonly TablePolicy[]): readonly TablePolicy[] {
  return rules.filter((rule) => rule.for.includes(operation))
}
