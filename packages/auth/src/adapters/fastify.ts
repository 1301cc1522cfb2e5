import type { Http2ServerRequest } from 'node:http2'
import type { Principal } from '@quintet/core'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { abandonAnswer } from '@quintet/core/http'
import { createAuthenticator, type AuthenticatorOptions, type AuthRefusal } from '../http/authenticator.ts'
import { createErrorAnswers, type ErrorAnswerOptions } from '../http/error-answers.ts'
import { nodeFacts } from '../http/node-facts.ts'
import type { RequestFacts } from '../http/request-facts.ts'

const principals = new WeakMap<object, Principal>()

/**
 * Makes an `onRequest` hook for Fastify 5 that lets callers through or answers for the route. Behind it,
 * {@link principalOf} gives the caller.
 *
 * @example
 * app.addHook('onRequest', fastifyAuth({ manager }))
 * app.get('/me', (request) => ({ userId: principalOf(request).userId }))
 */
export function fastifyAuth(
  options: AuthenticatorOptions,
): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const authenticator = createAuthenticator(options, 'fastifyAuth')
  return async (request, reply) => {
    const facts = factsOf(request)
    try {
      principals.set(request, await authenticator.admit(facts, request.signal))
    } catch (error) {
      await send(reply, authenticator.refuse(error, facts))
    }
  }
}

/** A request of Fastify, over HTTP/1.1 or HTTP/2. */
export type AuthenticatedRequest = Pick<FastifyRequest, 'id' | 'routeOptions'> & {
  readonly raw: FastifyRequest['raw'] | Http2ServerRequest
}

/** The caller of a request behind {@link fastifyAuth}. @throws TypeError when the hook has not run for it. */
export function principalOf(request: AuthenticatedRequest): Principal {
  const principal = principals.get(request)
  if (principal === undefined) throw new TypeError('principalOf: fastifyAuth has not run for this request.')
  return principal
}

/**
 * Makes an error handler for Fastify 5: an error of Quintet is answered with its status and challenge, one of Fastify
 * with its own, anything else with 500 and without a stack.
 *
 * @example
 * app.setErrorHandler(fastifyErrors())
 */
export function fastifyErrors(
  options: ErrorAnswerOptions = {},
): (error: unknown, request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const errors = createErrorAnswers(options, 'fastifyErrors')
  return async (error, request, reply) => {
    await send(reply, errors.of(error, factsOf(request)))
  }
}

/** With the URL that the client asked for, where `rewriteUrl` has changed it. */
function factsOf(request: FastifyRequest): RequestFacts {
  return nodeFacts(request.raw, { target: request.originalUrl })
}

/** Sends an answer in the place of whatever was begun. */
async function send(reply: FastifyReply, { status, headers, body }: AuthRefusal): Promise<void> {
  abandonAnswer((name) => reply.removeHeader(name))
  await reply.code(status).headers(headers).send(body)
}

export type { ErrorAnswerOptions } from '../http/error-answers.ts'
export type { AuthenticatorOptions } from '../http/authenticator.ts'
