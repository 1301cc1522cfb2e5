import { isQuintetError, type AccessRule, type Principal, type PrincipalFor } from '@quintet/core'
import type { Context, ErrorHandler, MiddlewareHandler } from 'hono'
import { headersBesideAnswer } from '@quintet/core/http'
import { createAuthenticator, type AuthenticatorOptions, type AuthRefusal } from '../http/authenticator.ts'
import { createErrorAnswers, type ErrorAnswerOptions } from '../http/error-answers.ts'
import { fetchFacts } from '../http/fetch-facts.ts'
import { readPeerAddress, type PeerAddressOptions } from '../http/peer-address.ts'

/**
 * What {@link honoAuth} sets: `context.get('principal')`. Give it to `new Hono<AuthEnvironment<UserPrincipal>>()`, or
 * without a type where callers may be anonymous.
 */
export interface AuthEnvironment<Caller extends Principal = Principal> {
  Variables: { principal: Caller }
}

export interface HonoAuthOptions<Access extends AccessRule = AccessRule>
  extends AuthenticatorOptions<Access>, PeerAddressOptions<Context> {}

/**
 * Makes middleware for Hono that lets callers through or answers for the route.
 *
 * @example
 * app.use('/api/*', honoAuth({ manager }))
 */
export function honoAuth<const Access extends AccessRule = 'authenticated'>(
  options: HonoAuthOptions<Access>,
): MiddlewareHandler<AuthEnvironment<PrincipalFor<Access>>> {
  const { address, ...others } = options
  const addressOf = readPeerAddress(address, options.trustedProxies, 'honoAuth')
  const authenticator = createAuthenticator(others as AuthenticatorOptions<Access>, 'honoAuth')
  return async (context, next) => {
    const facts = fetchFacts(context.req.raw, { address: addressOf(context) })
    let principal: PrincipalFor<Access>
    try {
      principal = await authenticator.admit(facts, context.req.raw.signal)
    } catch (error) {
      return answer(context, authenticator.refuse(error, facts))
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
    return answer(context, errors.of(error, fetchFacts(context.req.raw)))
  }
}

/** An answer in the place of whatever was begun. */
function answer(context: Context, { status, headers, body }: AuthRefusal): Response {
  const begun = context.res
  const all = headersBesideAnswer(begun.headers)
  for (const [name, value] of Object.entries(headers)) all.set(name, value)
  // What was fetched is read by no one now.
  begun.body?.cancel().catch(() => undefined)
  // Without it Hono would take the headers of the former over again; and it takes no second answer of a middleware.
  context.res = undefined
  context.res = new Response(body, { status, headers: all })
  return context.res
}

export type { ErrorAnswerOptions } from '../http/error-answers.ts'
export type { AuthenticatorOptions } from '../http/authenticator.ts'
