import { nearestKey } from '../options/known-keys.ts'
import { show } from '../options/show.ts'
import type { Principal, UserPrincipal, SystemPrincipal } from './principal.ts'

/**
 * Who may use one way in. Every procedure, route, channel and job declares one; what declares none is
 * refused when it is defined.
 *
 * - `'public'`: everybody, also without credentials, or with some that do not verify.
 * - `'authenticated'`: every signed-in user, but no machine.
 * - `'system'`: only Quintet's own work (jobs, sibling processes), never a user.
 * - `{ roles }`: a signed-in user with at least one of them.
 * - `{ permissions }`: a signed-in user, or a machine, with all of them.
 * - `{ allow }`: a signed-in user for whom the predicate returns true. It runs after authentication and
 *   before the input is read.
 */
export type AccessRule =
  | 'public'
  | 'authenticated'
  | 'system'
  | { readonly roles: readonly string[] }
  | { readonly permissions: readonly string[] }
  | { readonly allow: (principal: UserPrincipal) => boolean; readonly description: string }

const words = ['public', 'authenticated', 'system'] as const

/** @throws TypeError when the rule is missing or is none. */
export function assertAccessRule(rule: unknown, path: string): asserts rule is AccessRule {
  if (rule === undefined) {
    throw new TypeError(
      `${path}: declares no access rule. Add access: 'authenticated', 'public', 'system', { roles }, { permissions } or { allow }.`,
    )
  }
  if (typeof rule === 'string') {
    if ((words as readonly string[]).includes(rule)) return
    const nearest = nearestKey(rule, words)
    const hint =
      nearest === undefined ? `For a role write { roles: [${show(rule)}] }.` : `Did you mean '${nearest}'?`
    throw new TypeError(`${path}: access ${show(rule)} is no access rule. ${hint}`)
  }
  if (typeof rule === 'object' && rule !== null && Object.keys(rule).length > 0) {
    if ('roles' in rule && isNonEmptyList(rule.roles) && Object.keys(rule).length === 1) return
    if ('permissions' in rule && isNonEmptyList(rule.permissions) && Object.keys(rule).length === 1) return
    if (
      'allow' in rule &&
      typeof rule.allow === 'function' &&
      'description' in rule &&
      typeof rule.description === 'string'
    )
      return
  }
  throw new TypeError(
    `${path}: the access rule must be one of 'public', 'authenticated', 'system', { roles: [...] }, { permissions: [...] } or { allow, description }.`,
  )
}

function isNonEmptyList(value: unknown): boolean {
  return (
    Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string' && item !== '')
  )
}

/** A client that acts for itself and for no user, whose permissions are all that it has (RFC 9068 section 2.2). */
function isMachine({ userId, claims }: UserPrincipal): boolean {
  return claims['client_id'] === userId
}

/** Decides a rule: `'granted'`, or which of the two refusals the caller gets. */
export function decideAccess(
  rule: AccessRule,
  principal: Principal,
): 'granted' | 'unauthenticated' | 'forbidden' {
  if (rule === 'public') return 'granted'
  if (principal.kind === 'anonymous') return 'unauthenticated'
  if (rule === 'system') return principal.kind === 'system' ? 'granted' : 'forbidden'
  if (principal.kind !== 'user') return 'forbidden'
  if (rule === 'authenticated') return isMachine(principal) ? 'forbidden' : 'granted'
  if ('roles' in rule)
    return rule.roles.some((role) => principal.roles.includes(role)) ? 'granted' : 'forbidden'
  if ('permissions' in rule)
    return rule.permissions.every((permission) => principal.permissions.includes(permission))
      ? 'granted'
      : 'forbidden'
  return rule.allow(principal) === true ? 'granted' : 'forbidden'
}

/** The rule in words, as `quintet routes` prints it. */
export function describeAccess(rule: AccessRule): string {
  if (typeof rule === 'string') return rule
  if ('roles' in rule) return `role ${rule.roles.join(' or ')}`
  if ('permissions' in rule) return `permission ${rule.permissions.join(' and ')}`
  return rule.description
}

/** The principal that a handler can count on under an access rule. */
export type PrincipalFor<Access extends AccessRule> = Access extends 'public'
  ? Principal
  : Access extends 'system'
    ? SystemPrincipal
    : UserPrincipal
