import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AccessRule, Principal, PrincipalFor } from '@quintet/core'
import { createAuthenticator, type AuthenticatorOptions } from '../http/authenticator.ts'
import { nodeFacts } from '../http/node-facts.ts'

/** A listener for requests of callers who were let through. */
export type AuthenticatedListener<Caller extends Principal = Principal> = (
  request: IncomingMessage,
  response: ServerResponse,
  principal: Caller,
) => Promise<void> | void

/**
 * Puts authentication before a listener of `node:http`.
 *
 * @example
 * createServer(withAuth({ manager }, (request, response, principal) => response.end(principal.userId)))
 */
export function withAuth<const Access extends AccessRule = 'authenticated'>(
  options: AuthenticatorOptions<Access>,
  listener: AuthenticatedListener<PrincipalFor<Access>>,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const authenticator = createAuthenticator(options, 'withAuth')
  return async (request, response) => {
    const facts = nodeFacts(request)
    let principal: PrincipalFor<Access>
    try {
      principal = await authenticator.admit(facts)
    } catch (error) {
      const { status, headers, body } = authenticator.refuse(error, facts)
      response.writeHead(status, headers).end(body)
      return
    }
    await listener(request, response, principal)
  }
}

export { nodeFacts } from '../http/node-facts.ts'
export type { AuthenticatorOptions } from '../http/authenticator.ts'
