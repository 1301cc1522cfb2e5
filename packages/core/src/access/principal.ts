/** Who makes a call. Built by the server alone, from verified credentials; nothing in a body or query contributes to it. */
export type Principal = AnonymousPrincipal | UserPrincipal | SystemPrincipal

interface PrincipalBase {
  readonly roles: readonly string[]
  readonly permissions: readonly string[]
}

/** A caller without credentials. */
export interface AnonymousPrincipal extends PrincipalBase {
  readonly kind: 'anonymous'
  readonly userId: null
  readonly tenantId: null
  readonly sessionId: null
}

/** A user of one tenant, signed in with one session. */
export interface UserPrincipal extends PrincipalBase {
  readonly kind: 'user'
  /** The `sub` claim. */
  readonly userId: string
  /** The `tid` claim. */
  readonly tenantId: string
  /** The `sid` claim; null for a user on whose behalf a job runs after the session has ended. */
  readonly sessionId: string | null
  /** When the credentials run out, in milliseconds since the epoch; null when they do not. */
  readonly expiresAt: number | null
  /** The verified claims of the token, frozen. */
  readonly claims: Readonly<Record<string, unknown>>
}

/** Quintet's own work: a job declared `system`, a schedule, a sibling process acting for itself. */
export interface SystemPrincipal extends PrincipalBase {
  readonly kind: 'system'
  readonly userId: null
  /** The tenant it works for, or null for work across tenants. */
  readonly tenantId: string | null
  readonly sessionId: null
  /** Which part of the system acts, for the audit log. */
  readonly actor: string
}

export const anonymous: AnonymousPrincipal = Object.freeze({
  kind: 'anonymous',
  userId: null,
  tenantId: null,
  sessionId: null,
  roles: Object.freeze([]),
  permissions: Object.freeze([]),
})

export function systemPrincipal(actor: string, tenantId: string | null = null): SystemPrincipal {
  return Object.freeze({
    kind: 'system',
    userId: null,
    tenantId,
    sessionId: null,
    roles: Object.freeze([]),
    permissions: Object.freeze([]),
    actor,
  })
}
