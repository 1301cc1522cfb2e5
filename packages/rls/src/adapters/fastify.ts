import { abandonAnswer } from '@quintet/core/http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { runInScope } from '../context/rls-context.ts'
import { createErrorAnswers, type ErrorAnswerOptions } from './error-answers.ts'
import { scopeFrom, type RequestContextOptions } from './request-context.ts'

type FastifyHook<Request> = (request: Request, reply: unknown, done: (error?: Error) => void) => void

/**
 * A Fastify hook that opens the row-level security context of a request for its handler:
 * `fastify.addHook('preHandler', rlsContext({ … }))`.
 */
export function rlsContext<Request = FastifyRequest>(
  options: RequestContextOptions<Request>,
): FastifyHook<Request> {
  const scopeOf = scopeFrom(options, 'rlsContext')
  return (request, _reply, done) => {
    let scope
    try {
      scope = scopeOf(request)
    } catch (error) {
      done(error as Error)
      return
    }
    runInScope(scope, () => done())
  }
}

/**
 * Makes an error handler for Fastify 5: an error of Quintet or of PostgreSQL is answered with its status as
 * `application/problem+json`, one of Fastify with its own, anything else with 500 and without a stack.
 *
 * @example
 * app.setErrorHandler(fastifyErrors())
 */
export function fastifyErrors(
  options: ErrorAnswerOptions = {},
): (error: unknown, request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const answerOf = createErrorAnswers(options, 'fastifyErrors')
  return async (error, _request, reply) => {
    const { status, headers, body } = answerOf(error)
    abandonAnswer((name) => reply.removeHeader(name))
    await reply.code(status).headers(headers).send(body)
  }
}

export type { ErrorAnswerOptions } from './error-answers.ts'
