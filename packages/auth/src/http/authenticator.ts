import {
  anonymous,
  isQuintetError,
  type AccessRule,
  type AuthManager,
  type Principal,
  type PrincipalFor,
} from '@quintet/core'
import { problemHeaders, toProblem } from '@quintet/core/http'
import { accessOption, decideAccess, option, readOptions, toQuintetError } from '@quintet/core/kit'
import { realmOption, toChallenge } from './challenge.ts'
import { AuthError, Refusal } from '../errors.ts'
import { createPublicUrl, publicUrlSpec, type PublicUrlOptions } from './public-url.ts'
import { readCredentials } from './read-credentials.ts'
import type { RequestFacts } from './request-facts.ts'
import type { SessionCookies } from './session-cookies.ts'

/** What every adapter takes. */
export interface AuthenticatorOptions<Access extends AccessRule = AccessRule> extends PublicUrlOptions {
  readonly manager: AuthManager
  /** Who gets through. @defaultValue `'authenticated'` */
  readonly access?: Access
  /**
   * With `access: 'public'`: what becomes of credentials that do not verify, or cannot be verified now. `'ignore'` lets
   * the caller through as anonymous, so that stale ones do not close a sign-in; `'refuse'` answers as elsewhere.
   * @defaultValue `'ignore'`
   */
  readonly badCredentials?: 'ignore' | 'refuse'
  /** Takes the access token from a cookie as well, under the CSRF rules. */
  readonly cookies?: SessionCookies
  /** The `realm` of challenges. @defaultValue `'api'` */
  readonly realm?: string
  /** Reads the session now, even where the manager is in tracked mode. */
  readonly freshness?: 'strict'
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
  /** As `admit`, for a bearer token that came in another way than a request. Never lets it pass as anonymous. */
  admitToken(token: string): Promise<PrincipalFor<Access>>
  refuse(thrown: unknown, request: RequestFacts): AuthRefusal
}

const spec = {
  ...publicUrlSpec,
  manager: option.collaborator<AuthManager>(['authenticate'], 'an auth manager'),
  access: accessOption().or('authenticated'),
  badCredentials: option.oneOf(['ignore', 'refuse']).optional(),
  cookies: option
    .collaborator<SessionCookies>(['accessToken', 'assertSameSite'], 'createSessionCookies(...)')
    .optional(),
  realm: realmOption().optional(),
  freshness: option.oneOf(['strict']).optional(),
}
const never = new AbortController().signal

/** @throws TypeError for options that are unknown or make no sense. */
export function createAuthenticator<const Access extends AccessRule = 'authenticated'>(
  options: AuthenticatorOptions<Access>,
  path: string,
): Authenticator<Access> {
  const read = readOptions<AuthenticatorOptions, typeof spec>(options, spec, path, {
    check({ badCredentials, access }, note) {
      if (badCredentials !== undefined && access !== 'public')
        note('badCredentials', "only access 'public' lets anonymous callers through.")
    },
  })
  const { manager, access, badCredentials = 'ignore', freshness, cookies, realm } = read
  const publicUrl = createPublicUrl(read)

  async function authenticate(request: RequestFacts, signal: AbortSignal) {
    const facts = { ...request, url: publicUrl.of(request) }
    const { credentials, fromCookie } = readCredentials(facts, cookies)
    if (credentials.scheme === 'dpop' && !publicUrl.isKnown) {
      throw new AuthError('ERR_AUTH_DPOP_INVALID', {
        cause: new Refusal(`${path}.origin is not set, so the URL that the proof must name is unknown.`),
      })
    }
    const principal = await manager.authenticate(
      credentials,
      freshness === undefined ? { signal } : { signal, freshness },
    )
    if (fromCookie) cookies?.assertSameSite(facts, principal.sessionId ?? '')
    return principal
  }

  async function admitted(request: RequestFacts, signal: AbortSignal) {
    if (access !== 'public' || badCredentials === 'refuse') return await authenticate(request, signal)
    try {
      return await authenticate(request, signal)
    } catch (error) {
      if (isQuintetError(error) && error.kind !== 'internal') return anonymous
      throw error
    }
  }

  function decided(principal: Principal): PrincipalFor<Access> {
    const decision = decideAccess(access, principal)
    if (decision === 'unauthenticated') throw new AuthError('ERR_AUTH_CREDENTIALS_MISSING')
    if (decision === 'forbidden') throw new AuthError('ERR_AUTH_FORBIDDEN')
    // What the rule has just decided.
    return principal as PrincipalFor<Access>
  }

  return {
    admit: async (request, signal = never) => decided(await admitted(request, signal)),
    async admitToken(token) {
      const how = freshness === undefined ? { signal: never } : { signal: never, freshness }
      return decided(await manager.authenticate({ scheme: 'bearer', token }, how))
    },
    refuse: (thrown, request) => refuseRequest(thrown, request, realm),
  }
}

/** The answer to whatever was thrown for a request: a problem document, and the challenge where there is one. */
export function refuseRequest(
  thrown: unknown,
  request: Pick<RequestFacts, 'header'>,
  realm: string | undefined,
): AuthRefusal {
  const error = toQuintetError(thrown)
  const scheme = /^dpop /i.test(request.header('authorization')[0] ?? '') ? 'DPoP' : 'Bearer'
  const { status, headers } = toChallenge(error, { scheme, ...(realm === undefined ? {} : { realm }) })
  const problem = toProblem(error, { statuses: { [error.code]: status } })
  return { status, headers: { ...problemHeaders(problem), ...headers }, body: JSON.stringify(problem) }
}
