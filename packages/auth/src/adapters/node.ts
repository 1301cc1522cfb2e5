import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AccessRule, Principal, PrincipalFor } from '@quintet/core'
import { abandonAnswer } from '@quintet/core/http'
import { createAuthenticator, type AuthenticatorOptions, type AuthRefusal } from '../http/authenticator.ts'
import { createErrorAnswers, type ErrorAnswerOptions } from '../http/error-answers.ts'
import { nodeFacts } from '../http/node-facts.ts'

/** A listener for requests of callers who were let through. */
export type AuthenticatedListener<Caller extends Principal = Principal> = (
  request: IncomingMessage,
  response: ServerResponse,
  principal: Caller,
) => Promise<void> | void

export interface NodeAuthOptions<Access extends AccessRule = AccessRule>
  extends AuthenticatorOptions<Access>, Pick<ErrorAnswerOptions, 'onError'> {}

/**
 * Puts authentication before a listener of `node:http`. What the listener throws is answered: an error of Quintet with
 * its status, anything else with 500.
 *
 * @example
 * createServer(nodeAuth({ manager }, (request, response, principal) => void response.end(principal.userId)))
 */
export function nodeAuth<const Access extends AccessRule = 'authenticated'>(
  options: NodeAuthOptions<Access>,
  listener: AuthenticatedListener<PrincipalFor<Access>>,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const { onError, ...others } = options
  const authenticator = createAuthenticator(others as AuthenticatorOptions<Access>, 'nodeAuth')
  const errors = createErrorAnswers(onError === undefined ? {} : { onError }, 'nodeAuth')
  return async (request, response) => {
    const facts = nodeFacts(request)
    let principal: PrincipalFor<Access>
    try {
      principal = await authenticator.admit(facts)
    } catch (error) {
      send(response, authenticator.refuse(error, facts))
      return
    }
    try {
      await listener(request, response, principal)
    } catch (error) {
      if (response.headersSent) {
        // Half an answer is no answer: the client must see that it was cut off.
        errors.report(error)
        response.destroy()
        return
      }
      send(response, errors.of(error, facts))
    }
  }
}

/** Sends an answer in the place of whatever was begun. */
function send(response: ServerResponse, { status, headers, body }: AuthRefusal): void {
  abandonAnswer((name) => response.removeHeader(name))
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body)
}

export { nodeFacts } from '../http/node-facts.ts'
export type { AuthenticatorOptions } from '../http/authenticator.ts'
