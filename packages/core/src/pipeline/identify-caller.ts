import type { AuthManager } from '../access/auth-manager.ts'
import type { Credentials } from '../access/credentials.ts'
import { anonymous, type Principal } from '../access/principal.ts'
import { toQuintetError } from '../errors.ts'
import type { PipelineCall } from './pipeline-call.ts'
import { expired, notIdentified } from './refusals.ts'

/**
 * Authenticates the caller. On a public way in, credentials that do not verify, or cannot be verified now, are as good as
 * none: stale ones must not close a sign-in, nor an outage a public page. `freshness: 'strict'` refuses them there as well.
 */
export function identifyCaller(
  call: PipelineCall,
  auth: AuthManager | undefined,
): Principal | Promise<Principal> {
  const { credentials, operation } = call.incoming
  if (!isClaim(credentials)) return authenticate(call, auth)
  const mayBeAnyone = operation.access === 'public' && operation.freshness === undefined
  return mayBeAnyone ? identifyOrAnonymous(call, auth) : identifyClaim(call, auth)
}

async function identifyOrAnonymous(call: PipelineCall, auth: AuthManager | undefined): Promise<Principal> {
  try {
    return await identifyClaim(call, auth)
  } catch (error) {
    if (toQuintetError(error).kind === 'internal') throw error
    call.throwIfAborted()
    return anonymous
  }
}

function identifyClaim(call: PipelineCall, auth: AuthManager | undefined): Principal | Promise<Principal> {
  const identified = authenticate(call, auth)
  return identified instanceof Promise ? identified.then(assertIdentified) : assertIdentified(identified)
}

function authenticate(call: PipelineCall, auth: AuthManager | undefined): Principal | Promise<Principal> {
  const { credentials, operation } = call.incoming
  if (credentials.scheme === 'none') return anonymous
  if (credentials.scheme === 'attested') {
    const { principal, by } = credentials
    const runsOut = principal.kind === 'user' && principal.expiresAt !== null && by !== 'envelope'
    if (runsOut && !(principal.expiresAt > call.startedAt)) throw expired()
    return principal
  }
  if (auth === undefined) throw notIdentified()
  return operation.freshness === undefined
    ? (auth.recall?.(credentials) ?? auth.authenticate(credentials, call))
    : auth.authenticate(credentials, { signal: call.signal, freshness: operation.freshness })
}

/** Credentials that were given never make an anonymous caller by themselves. */
function assertIdentified(principal: Principal): Principal {
  if (principal.kind === 'anonymous') throw notIdentified()
  return principal
}

/** Whether credentials came that must be verified. */
function isClaim({ scheme }: Credentials): boolean {
  return scheme !== 'none' && scheme !== 'attested'
}
