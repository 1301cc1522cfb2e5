import { isQuintetError } from '@quintet/core'
import { headersBesideAnswer } from '@quintet/core/http'
import type { Context, ErrorHandler } from 'hono'
import { runInScope } from '../context/rls-context.ts'
import { createErrorAnswers, type ErrorAnswerOptions } from './error-answers.ts'
import { scopeFrom, type RequestContextOptions } from './request-context.ts'

type HonoMiddleware<Request> = (context: Request, next: () => Promise<void>) => Promise<void>

/** Hono middleware that opens the row-level security context of a request for everything behind it. */
export function rlsContext<Request = Context>(
  options: RequestContextOptions<Request>,
): HonoMiddleware<Request> {
  const scopeOf = scopeFrom(options, 'rlsContext')
  return async (context, next) => runInScope(scopeOf(context), next)
}

/**
 * Makes an error handler for Hono: an error of Quintet or of PostgreSQL is answered with its status as
 * `application/problem+json`, an `HTTPException` as it says, anything else with 500 and without a stack.
 *
 * @example
 * app.onError(honoErrors())
 */
export function honoErrors(options: ErrorAnswerOptions = {}): ErrorHandler {
  const answerOf = createErrorAnswers(options, 'honoErrors')
  return (error, context) => {
    if ('getResponse' in error && !isQuintetError(error)) return error.getResponse()
    const { status, headers, body } = answerOf(error)
    const begun = context.res
    const all = headersBesideAnswer(begun.headers)
    for (const [name, value] of Object.entries(headers)) all.set(name, value)
    // What was fetched is read by no one now.
    begun.body?.cancel().catch(() => undefined)
    // Without it Hono would take the headers of the former over again.
    context.res = undefined
    return new Response(body, { status, headers: all })
  }
}

export type { ErrorAnswerOptions } from './error-answers.ts'
