import { isQuintetError, type AccessRule, type Principal, type PrincipalFor } from '@quintet/core'
import type { ErrorHandler, MiddlewareHandler } from 'hono'
import { createAuthenticator, type AuthenticatorOptions } from '../http/authenticator.ts'
import { createErrorAnswers, type ErrorAnswerOptions } from '../http/error-answers.ts'
import { fetchFacts } from '../http/fetch-facts.ts'

/**
 * What {@link honoAuth} sets: `context.get('principal')`. Give it to `new Hono<AuthEnvironment<UserPrincipal>>()`, or
 * without a type where callers may be anonymous.
 */
export interface AuthEnvironment<Caller extends Principal = Principal> {
  Variables: { principal: Caller }
}

/**
 * Makes middleware for Hono that lets callers through or answers for the route.
 *
 * @example
 * app.use('/api/*', honoAuth({ manager }))
 */
export function honoAuth<const Access extends AccessRule = 'authenticated'>(
  options: AuthenticatorOptions<Access>,
): MiddlewareHandler<AuthEnvironment<PrincipalFor<Access>>> {
  const authenticator = createAuthenticator(options, 'honoAuth')
  return async (context, next) => {
    const facts = fetchFacts(context.req.raw)
    let principal: PrincipalFor<Access>
    try {
      principal = await authenticator.admit(facts, context.req.raw.signal)
    } catch (error) {
      const { status, headers, body } = authenticator.refuse(error, facts)
      return new Response(body, { status, headers })
    }
    context.set('principal', principal)
    await next()
    return undefined
  }
}

/**
 * Makes an error handler for Hono: an error of Quintet is answered with its status and challenge, an `HTTPException` as
 * it says, anything else with 500 and without a stack.
 *
 * @example
 * app.onError(honoErrors())
 */
export function honoErrors(options: ErrorAnswerOptions = {}): ErrorHandler {
  const errors = createErrorAnswers(options, 'honoErrors')
  return (error, context) => {
    if ('getResponse' in error && !isQuintetError(error)) return error.getResponse()
    const { status, headers, body } = errors.of(error, fetchFacts(context.req.raw))
    return new Response(body, { status, headers })
  }
}

export type { ErrorAnswerOptions } from '../http/error-answers.ts'
export type { AuthenticatorOptions } from '../http/authenticator.ts'
