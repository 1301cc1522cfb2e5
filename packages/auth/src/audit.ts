import type { Logger } from '@quintet/core'
import type { SessionRef, UserRef } from './sessions/session-keys.ts'

/** What happened to a session or an account, for the audit log. Holds ids, never tokens or secrets. */
export type AuthEvent =
  | (SessionRef & { readonly type: 'session.created'; readonly aal: number; readonly amr: readonly string[] })
  | (SessionRef & {
      readonly type: 'session.refreshed'
      readonly generation: number
      readonly grace: boolean
    })
  | (SessionRef & {
      readonly type: 'session.stepped-up'
      readonly aal: number
      readonly amr: readonly string[]
    })
  | (SessionRef & { readonly type: 'session.revoked'; readonly reason: string })
  | (SessionRef & { readonly type: 'session.refresh-reused'; readonly generation: number })
  | (SessionRef & { readonly type: 'session.warmed' })
  | (UserRef & {
      readonly type: 'user.sessions-revoked'
      readonly reason: string
      readonly sessionIds: readonly string[]
    })
  | { readonly type: 'refresh.refused'; readonly reason: string; readonly sessionId?: string }
  | { readonly type: 'attempt.throttled'; readonly what: 'sign-in' | 'refresh'; readonly retryAfter: number }

export type AuthEventType = AuthEvent['type']

/**
 * Receives every event with its time. It must not block, and is not awaited; what it throws or rejects with is
 * logged and goes no further.
 */
export type AuditListener = (event: AuthEvent & { readonly at: number }) => unknown

export function createAudit(
  listener: AuditListener | undefined,
  logger: Logger,
  now: () => number,
): (event: AuthEvent) => void {
  if (listener === undefined) return () => undefined
  return (event) => {
    Promise.try(listener, { ...event, at: now() }).catch((error: unknown) => {
      logger.error({ err: error, event: event.type }, 'an audit listener failed')
    })
  }
}
