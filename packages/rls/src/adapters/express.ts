import { abandonAnswer } from '@quintet/core/http'
import { runInScope } from '../context/rls-context.ts'
import { createErrorAnswers, type ErrorAnswerOptions } from './error-answers.ts'
import { scopeFrom, type RequestContextOptions } from './request-context.ts'

type ExpressMiddleware<Request> = (
  request: Request,
  response: unknown,
  next: (error?: unknown) => void,
) => void

/**
 * Express middleware that opens the row-level security context of a request for everything behind it.
 * Use it after authentication and body parsing.
 */
export function rlsContext<Request>(options: RequestContextOptions<Request>): ExpressMiddleware<Request> {
  const scopeOf = scopeFrom(options, 'rlsContext')
  return (request, _response, next) => {
    let scope
    try {
      scope = scopeOf(request)
    } catch (error) {
      next(error)
      return
    }
    runInScope(scope, next)
  }
}

/** What is needed of Express's response. */
interface ExpressResponse {
  readonly headersSent: boolean
  removeHeader(name: string): unknown
  status(status: number): ExpressResponse
  set(headers: Record<string, string>): ExpressResponse
  send(body: string): unknown
}

/**
 * Makes an error handler for Express 5, to be used after the routes: an error of Quintet or of PostgreSQL is answered
 * with its status as `application/problem+json`, anything else with 500 and without a stack. `expressErrors` of
 * `@quintet/auth` also sends challenges.
 *
 * @example
 * app.use(expressErrors())
 */
export function expressErrors(
  options: ErrorAnswerOptions = {},
): (error: unknown, request: unknown, response: ExpressResponse, next: (error?: unknown) => void) => void {
  const answerOf = createErrorAnswers(options, 'expressErrors')
  return (error, _request, response, next) => {
    // Express ends the connection of an answer that has begun.
    if (response.headersSent) return next(error)
    const { status, headers, body } = answerOf(error)
    abandonAnswer((name) => response.removeHeader(name))
    response.status(status).set(headers).send(body)
  }
}

export type { ErrorAnswerOptions } from './error-answers.ts'
