import type { AccessRule, Principal, PrincipalFor } from '@quintet/core'
import { createAuthenticator, type AuthenticatorOptions } from '../http/authenticator.ts'
import { createErrorAnswers, type ErrorAnswerOptions } from '../http/error-answers.ts'
import { fetchFacts } from '../http/fetch-facts.ts'
import { readPeerAddress, type PeerAddressOptions } from '../http/peer-address.ts'

/** A handler of a Web `Request` from a caller who was let through. */
export type AuthenticatedHandler<Caller extends Principal = Principal> = (
  request: Request,
  principal: Caller,
) => Promise<Response> | Response

export interface FetchAuthOptions<Access extends AccessRule = AccessRule>
  extends AuthenticatorOptions<Access>, Pick<ErrorAnswerOptions, 'onError'>, PeerAddressOptions<Request> {}

/**
 * Puts authentication before a handler of Web requests. What the handler throws is answered: an error of Quintet with its
 * status, anything else with 500.
 *
 * @example
 * const handler = fetchAuth({ manager }, (request, principal) => Response.json({ hello: principal.userId }))
 */
export function fetchAuth<const Access extends AccessRule = 'authenticated'>(
  options: FetchAuthOptions<Access>,
  handler: AuthenticatedHandler<PrincipalFor<Access>>,
): (request: Request) => Promise<Response> {
  const { onError, address, ...others } = options
  const addressOf = readPeerAddress(address, options.trustedProxies, 'fetchAuth')
  const authenticator = createAuthenticator(others as AuthenticatorOptions<Access>, 'fetchAuth')
  const errors = createErrorAnswers(onError === undefined ? {} : { onError }, 'fetchAuth')
  return async (request) => {
    const facts = fetchFacts(request, { address: addressOf(request) })
    let principal: PrincipalFor<Access>
    try {
      principal = await authenticator.admit(facts, request.signal)
    } catch (error) {
      const { status, headers, body } = authenticator.refuse(error, facts)
      return new Response(body, { status, headers })
    }
    try {
      return await handler(request, principal)
    } catch (error) {
      const { status, headers, body } = errors.of(error, facts)
      return new Response(body, { status, headers })
    }
  }
}

export { fetchFacts } from '../http/fetch-facts.ts'
export type { AuthenticatorOptions } from '../http/authenticator.ts'
