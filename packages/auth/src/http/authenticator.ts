import type { AccessRule, AuthManager, PrincipalFor } from '@quintet/core'
import { assertAccessRule, decideAccess, refuseUnknownKeys, toQuintetError } from '@quintet/core/kit'
import { toChallenge } from '../challenge.ts'
import { AuthError } from '../errors.ts'
import { readCredentials } from './read-credentials.ts'
import type { RequestFacts } from './request-facts.ts'
import type { SessionCookies } from './session-cookies.ts'

/** What every adapter takes. */
export interface AuthenticatorOptions<Access extends AccessRule = AccessRule> {
  readonly manager: AuthManager
  /** Who gets through. @defaultValue `'authenticated'` */
  readonly access?: Access
  /** Takes the access token from a cookie as well, under the CSRF rules. */
  readonly cookies?: SessionCookies
  /** The `realm` of challenges. @defaultValue `'api'` */
  readonly realm?: string
  /** Reads the session now, even where the manager is in tracked mode. */
  readonly freshness?: 'strict'
  /**
   * The origin under which clients know this server, e.g. `https://api.example.com`: proofs of possession are made
   * for it. @defaultValue what the request says
   */
  readonly origin?: string
}

/** A refusal in HTTP, ready to be sent. */
export interface AuthRefusal {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** `application/problem+json` (RFC 9457). */
  readonly body: string
}

/** Lets requests through or refuses them; what is common to all adapters. */
export interface Authenticator<Access extends AccessRule> {
  /** Resolves to the caller, or rejects. */
  admit(request: RequestFacts, signal?: AbortSignal): Promise<PrincipalFor<Access>>
  refuse(thrown: unknown, request: RequestFacts): AuthRefusal
}

const knownKeys = ['manager', 'access', 'cookies', 'realm', 'freshness', 'origin']
const never = new AbortController().signal

export function createAuthenticator<Access extends AccessRule>(
  options: AuthenticatorOptions<Access>,
  path: string,
): Authenticator<Access> {
  refuseUnknownKeys(options, knownKeys, path)
  if (typeof options.manager?.authenticate !== 'function')
    throw new TypeError(`${path}.manager: give an auth manager.`)
  const access: AccessRule = options.access ?? 'authenticated'
  assertAccessRule(access, path)
  if (options.freshness !== undefined && options.freshness !== 'strict') {
    throw new TypeError(`${path}.freshness: must be 'strict' or left out.`)
  }
  const { origin } = options
  if (origin !== undefined && (!URL.canParse(origin) || new URL(origin).origin !== origin)) {
    throw new TypeError(
      `${path}.origin: ${JSON.stringify(origin)} is no origin such as "https://api.example.com".`,
    )
  }
  return {
    async admit(request, signal = never) {
      const facts = origin === undefined ? request : { ...request, url: relocate(request.url, origin) }
      const { credentials, fromCookie } = readCredentials(facts, options.cookies)
      const { freshness } = options
      const principal = await options.manager.authenticate(
        credentials,
        freshness === undefined ? { signal } : { signal, freshness },
      )
      if (fromCookie) options.cookies?.assertSameSite(facts, principal.sessionId ?? '')
      const decision = decideAccess(access, principal)
      if (decision === 'unauthenticated') throw new AuthError('ERR_AUTH_CREDENTIALS_MISSING')
      if (decision === 'forbidden') throw new AuthError('ERR_AUTH_FORBIDDEN')
      // What the rule has just decided.
      return principal as PrincipalFor<Access>
    },
    refuse(thrown, request) {
      const error = toQuintetError(thrown)
      const scheme = /^dpop /i.test(request.header('authorization')[0] ?? '') ? 'DPoP' : 'Bearer'
      const { status, headers } = toChallenge(error, {
        scheme,
        ...(options.realm === undefined ? {} : { realm: options.realm }),
      })
      const body = {
        type: 'about:blank',
        title: titles[status],
        status,
        detail: error.kind === 'internal' ? 'Something failed on our side.' : error.message,
        code: error.code,
        ...(error.details === undefined || error.kind === 'internal' ? {} : { details: error.details }),
      }
      return {
        status,
        headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', ...headers },
        body: JSON.stringify(body),
      }
    },
  }
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}

function relocate(url: string, origin: string): string {
  const { pathname, search } = new URL(url)
  return `${origin}${pathname}${search}`
}
