import type { Principal } from '@quintet/core'
import type { RequestHandler } from 'express'
import { createAuthenticator, type AuthenticatorOptions } from '../http/authenticator.ts'
import { nodeFacts } from '../http/node-facts.ts'

/**
 * Makes middleware for Express 5 that lets callers through or answers for the route. Behind it,
 * `response.locals.principal` is the caller.
 *
 * @example
 * app.use('/admin', expressAuth({ manager, access: { roles: ['admin'] } }))
 */
export function expressAuth(options: AuthenticatorOptions): RequestHandler {
  const authenticator = createAuthenticator(options, 'expressAuth')
  return async (request, response, next) => {
    // Under a mount path, Express shortens `url`.
    const facts = nodeFacts(request, { target: request.originalUrl })
    let principal: Principal
    try {
      principal = await authenticator.admit(facts)
    } catch (error) {
      const { status, headers, body } = authenticator.refuse(error, facts)
      response.status(status).set(headers).send(body)
      return
    }
    response.locals['principal'] = principal
    next()
  }
}

export type { AuthenticatorOptions } from '../http/authenticator.ts'
