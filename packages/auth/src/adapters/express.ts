import type { Principal } from '@quintet/core'
import type { ErrorRequestHandler, RequestHandler, Response } from 'express'
import { abandonAnswer } from '@quintet/core/http'
import { createAuthenticator, type AuthenticatorOptions, type AuthRefusal } from '../http/authenticator.ts'
import { createErrorAnswers, type ErrorAnswerOptions } from '../http/error-answers.ts'
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
      send(response, authenticator.refuse(error, facts))
      return
    }
    response.locals['principal'] = principal
    next()
  }
}

/**
 * Makes an error handler for Express 5, to be used after the routes: an error of Quintet is answered with its status and
 * challenge, anything else with 500 and without a stack.
 *
 * @example
 * app.use(expressErrors())
 */
export function expressErrors(options: ErrorAnswerOptions = {}): ErrorRequestHandler {
  const errors = createErrorAnswers(options, 'expressErrors')
  return (error, request, response, next) => {
    // Express ends the connection of an answer that has begun.
    if (response.headersSent) return next(error)
    send(response, errors.of(error, nodeFacts(request, { target: request.originalUrl })))
  }
}

/** Sends an answer in the place of whatever was begun. */
function send(response: Response, { status, headers, body }: AuthRefusal): void {
  abandonAnswer((name) => response.removeHeader(name))
  response.status(status).set(headers).send(body)
}

export type { ErrorAnswerOptions } from '../http/error-answers.ts'
export type { AuthenticatorOptions } from '../http/authenticator.ts'
