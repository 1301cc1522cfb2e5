import type { AccessRule, Duration, UserPrincipal } from '@quintet/core'
import { decideAccess, describeAccess, option, readOptions } from '@quintet/core/kit'
import { AuthError } from './errors.ts'

/** An access rule made of a predicate. */
export interface Guard {
  readonly allow: (principal: UserPrincipal) => boolean
  readonly description: string
}

/** A signed-in user with at least one of the roles. */
export function hasRole(...roles: readonly [string, ...string[]]): { readonly roles: readonly string[] } {
  return Object.freeze({ roles: Object.freeze([...roles]) })
}

/** A signed-in user with all of the permissions. */
export function hasPermission(...permissions: readonly [string, ...string[]]): {
  readonly permissions: readonly string[]
} {
  return Object.freeze({ permissions: Object.freeze([...permissions]) })
}

/** A signed-in user of one of the tenants. */
export function inTenant(...tenantIds: readonly [string, ...string[]]): Guard {
  return guard(`tenant ${tenantIds.join(' or ')}`, ({ tenantId }) => tenantIds.includes(tenantId))
}

/** A signed-in user for whom the predicate holds. */
export function guard(description: string, allow: (principal: UserPrincipal) => boolean): Guard {
  return Object.freeze({ description, allow: (principal: UserPrincipal) => allow(principal) === true })
}

/** Whoever satisfies every rule. A step-up is asked for only when the other rules are satisfied. */
export function allOf(...rules: readonly [AccessRule, ...AccessRule[]]): Guard {
  return guard(rules.map(describeAccess).join(', and '), (principal) => {
    const verdicts = rules.map((rule) => verdictOf(rule, principal))
    if (verdicts.includes(false)) return false
    return verdicts.every(orThrow)
  })
}

/** Whoever satisfies at least one rule. A step-up is asked for only when no other rule is satisfied. */
export function anyOf(...rules: readonly [AccessRule, ...AccessRule[]]): Guard {
  return guard(rules.map(describeAccess).join(', or '), (principal) => {
    const verdicts = rules.map((rule) => verdictOf(rule, principal))
    if (verdicts.includes(true)) return true
    return verdicts.some(orThrow)
  })
}

/** What a rule says, or what it threw: a step-up that is missing, or a predicate that failed. */
type Verdict = boolean | { readonly thrown: unknown }

function verdictOf(rule: AccessRule, principal: UserPrincipal): Verdict {
  try {
    return decideAccess(rule, principal) === 'granted'
  } catch (error) {
    return { thrown: error }
  }
}

function orThrow(verdict: Verdict): boolean {
  if (typeof verdict === 'boolean') return verdict
  throw verdict.thrown
}

export interface StepUpRule {
  /** The least assurance level: 1 to 3. */
  readonly aal?: number
  /** Methods that must all have been used, e.g. `hwk`. */
  readonly amr?: readonly string[]
  /** How long ago the user may have proved who they are. */
  readonly maxAge?: Duration
}

const stepUpSpec = {
  aal: option.count(undefined, { min: 1, max: 3 }).optional(),
  amr: option.list(option.text(), { min: 1 }).optional(),
  maxAge: option.duration().optional(),
}

/**
 * A user who has proved enough, and recently enough. One who has not is refused with
 * `ERR_AUTH_STEP_UP_REQUIRED`, which says what is missing, so that the client can ask for it.
 *
 * @see RFC 9470
 */
export function steppedUp(rule: StepUpRule, now: () => number = Date.now): Guard {
  const { aal, amr, maxAge } = readOptions<StepUpRule, typeof stepUpSpec>(rule, stepUpSpec, 'steppedUp', {
    check(read, note) {
      if (Object.values(read).every((each) => each === undefined)) note('', 'ask for aal, amr or maxAge.')
    },
  })
  const wanted = [
    ...(aal === undefined ? [] : [`assurance level ${aal}`]),
    ...(amr === undefined ? [] : [`methods ${amr.join(' and ')}`]),
    ...(maxAge === undefined ? [] : [`a sign-in within ${maxAge / 1_000} s`]),
  ]
  return guard(wanted.join(', '), (principal) => {
    const { aal: reached, amr: used, auth_time: provedAt } = principal.claims
    const enough =
      (aal === undefined || (typeof reached === 'number' && reached >= aal)) &&
      (amr === undefined || (Array.isArray(used) && amr.every((method) => used.includes(method)))) &&
      (maxAge === undefined || (typeof provedAt === 'number' && now() - provedAt * 1_000 <= maxAge))
    if (enough) return true
    throw new AuthError('ERR_AUTH_STEP_UP_REQUIRED', {
      details: {
        ...(aal === undefined ? {} : { aal }),
        ...(amr === undefined ? {} : { amr }),
        ...(maxAge === undefined ? {} : { maxAge: Math.floor(maxAge / 1_000) }),
      },
    })
  })
}
