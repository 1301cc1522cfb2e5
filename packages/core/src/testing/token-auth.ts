import type { AuthManager, SessionEnd } from '../access/auth-manager.ts'
import { QuintetError } from '../errors.ts'
import type { Principal, UserPrincipal } from '../access/principal.ts'

/** An auth manager over tokens in memory, with the real contract: bad credentials are refused, never anonymous. */
export interface TokenAuth extends AuthManager {
  /** From now on the token stands for the principal. */
  grant(token: string, principal: Principal): void
  /** The token is refused from now on, and everybody who watches its principal is told. */
  end(token: string, end: SessionEnd): void
  /** Refuses every check with kind `unavailable` while true, as when the session store is down. */
  unavailable: boolean
  /** How many checks have been made. */
  readonly checks: number
}

/** Makes an auth manager for tests. A token that was not granted is refused with reason `unknown`. */
export function createTokenAuth(tokens: Readonly<Record<string, Principal>> = {}): TokenAuth {
  const granted = new Map(Object.entries(tokens))
  const ended = new Map<string, SessionEnd>()
  const watchers = new Map<Principal, Set<(end: SessionEnd) => void>>()
  let checks = 0

  return {
    unavailable: false,
    get checks() {
      return checks
    },
    grant(token, principal) {
      ended.delete(token)
      granted.set(token, principal)
    },
    end(token, end) {
      ended.set(token, end)
      const principal = granted.get(token)
      if (principal === undefined) return
      for (const [watched, callbacks] of watchers) {
        if (!isSameSession(watched, principal)) continue
        // The session goes on under a newer token, and its end may follow.
        if (end !== 'superseded') watchers.delete(watched)
        for (const callback of callbacks) callback(end)
      }
    },
    async authenticate(credentials, { signal }) {
      checks++
      signal.throwIfAborted()
      if (this.unavailable) {
        throw new QuintetError('The session cannot be checked now.', {
          code: 'ERR_CORE_UNAVAILABLE',
          kind: 'unavailable',
          retryAfter: 1_000,
        })
      }
      if (credentials.scheme !== 'bearer' && credentials.scheme !== 'dpop') throw refusal('unknown')
      const { token } = credentials
      const principal = granted.get(token)
      if (principal === undefined) throw refusal('unknown')
      const end = ended.get(token)
      if (end !== undefined) throw refusal(end)
      if (principal.kind === 'user' && principal.expiresAt !== null && principal.expiresAt <= Date.now()) {
        throw refusal('expired')
      }
      return principal
    },
    watch(principal, onEnd) {
      const callbacks = watchers.get(principal) ?? new Set()
      watchers.set(principal, callbacks)
      callbacks.add(onEnd)
      return { [Symbol.dispose]: () => void callbacks.delete(onEnd) }
    },
  }
}

/** A user to test with: of tenant `tenant-a`, signed in, without roles. */
export function testUser(overrides: Partial<UserPrincipal> = {}): UserPrincipal {
  return Object.freeze({
    kind: 'user',
    userId: 'user-1',
    tenantId: 'tenant-a',
    sessionId: 'session-1',
    roles: [],
    permissions: [],
    expiresAt: null,
    claims: Object.freeze({}),
    ...overrides,
  })
}

function isSameSession(a: Principal, b: Principal): boolean {
  return a === b || (a.sessionId !== null && a.sessionId === b.sessionId && a.tenantId === b.tenantId)
}

function refusal(reason: SessionEnd | 'unknown'): QuintetError {
  return new QuintetError('The credentials were not accepted.', {
    code: 'ERR_CORE_UNAUTHENTICATED',
    kind: 'unauthenticated',
    details: { reason },
  })
}
