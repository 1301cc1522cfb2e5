import type { AccessRule, Principal, PrincipalFor } from '@quintet/core'
import { createAuthenticator, type AuthenticatorOptions } from '../http/authenticator.ts'
import { fetchFacts } from '../http/fetch-facts.ts'

/** A handler of a Web `Request` from a caller who was let through. */
export type AuthenticatedHandler<Caller extends Principal = Principal> = (
  request: Request,
  principal: Caller,
) => Promise<Response> | Response

/**
 * Puts authentication before a handler of Web requests.
 *
 * @example
 * const handler = withAuth({ manager }, (request, principal) => Response.json({ hello: principal.userId }))
 */
export function withAuth<const Access extends AccessRule = 'authenticated'>(
  options: AuthenticatorOptions<Access>,
  handler: AuthenticatedHandler<PrincipalFor<Access>>,
): (request: Request) => Promise<Response> {
  const authenticator = createAuthenticator(options, 'withAuth')
  return async (request) => {
    const facts = fetchFacts(request)
    let principal: PrincipalFor<Access>
    try {
      principal = await authenticator.admit(facts, request.signal)
    } catch (error) {
      const { status, headers, body } = authenticator.refuse(error, facts)
      return new Response(body, { status, headers })
    }
    return await handler(request, principal)
  }
}

export { fetchFacts } from '../http/fetch-facts.ts'
export type { AuthenticatorOptions } from '../http/authenticator.ts'
