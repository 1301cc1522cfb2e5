import type { Operation, PolicyAudience, TablePolicy } from '../policies/table-policy.ts'
import type { AttackActor, AttackOperation, AttackOutcome } from './attack-case.ts'

/**
 * What must come of an attempt on another's row (or one's own), by what the policies of the table declare; undefined where
 * they do not say.
 */
export function expectedOutcome(
  operation: AttackOperation,
  actor: AttackActor,
  rules: readonly TablePolicy[],
): AttackOutcome | undefined {
  if (actor === 'malformed') return 'invalid'
  if (actor === 'none') return 'refused'
  if (operation === 'truncate') return actor === 'system' ? undefined : 'refused'
  if (actor === 'system') return 'done'
  const needed = neededFor[operation]
  if (!needed.every((one) => opening(one, rules).length > 0)) return 'refused'
  const admissions = needed.map((one) => admissionOf(actor, opening(one, rules)))
  if (admissions.includes('no'))
    return operation === 'insert' || operation === 'upsert' ? 'refused' : 'no rows'
  if (admissions.includes('undeclared')) return undefined
  const admitting = opening('update', rules).filter((rule) => admits(rule, actor) === 'yes')
  if (operation === 'move-tenant') return movedTo(admitting, ['everyone'], [])
  if (operation === 'move-user') return movedTo(admitting, ['everyone', 'tenant'], ['undeclared'])
  return 'done'
}

/** A row may become what one of the policies admits. */
function movedTo(
  rules: readonly TablePolicy[],
  open: readonly PolicyAudience[],
  unknown: readonly PolicyAudience[],
): AttackOutcome | undefined {
  if (rules.some(({ audience }) => open.includes(audience))) return 'done'
  return rules.some(({ audience }) => unknown.includes(audience)) ? undefined : 'refused'
}

const neededFor: Readonly<Record<Exclude<AttackOperation, 'truncate'>, readonly Operation[]>> = {
  select: ['select'],
  insert: ['insert'],
  update: ['update'],
  delete: ['delete'],
  upsert: ['insert', 'update', 'select'],
  'move-tenant': ['update'],
  'move-user': ['update'],
}

type Admission = 'yes' | 'no' | 'undeclared'

/** Policies add up: one that admits is enough. */
function admissionOf(actor: AttackActor, rules: readonly TablePolicy[]): Admission {
  const admissions = rules.map((rule) => admits(rule, actor))
  if (admissions.includes('yes')) return 'yes'
  return admissions.includes('undeclared') ? 'undeclared' : 'no'
}

function admits({ audience, roles }: TablePolicy, actor: AttackActor): Admission {
  if (audience === 'everyone' || actor === 'own') return 'yes'
  if (actor === 'roleless') {
    if (roles.length > 0) return 'no'
    return audience === 'undeclared' ? 'undeclared' : 'yes'
  }
  if (actor !== 'colleague' || audience === 'user') return 'no'
  return audience === 'tenant' ? 'yes' : 'undeclared'
}

function opening(operation: Operation, rules: readonly TablePolicy[]): readonly TablePolicy[] {
  return rules.filter((rule) => rule.for.includes(operation))
}
