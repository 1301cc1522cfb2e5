import type { Principal } from '@quintet/core'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { createAuthenticator, type AuthenticatorOptions } from '../http/authenticator.ts'
import { nodeFacts } from '../http/node-facts.ts'

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
    const facts = nodeFacts(request.raw)
    try {
      principals.set(request, await authenticator.admit(facts, request.signal))
    } catch (error) {
      const { status, headers, body } = authenticator.refuse(error, facts)
      await reply.code(status).headers(headers).send(body)
    }
  }
}

/** The caller of a request behind {@link fastifyAuth}. @throws TypeError when the hook has not run for it. */
export function principalOf(request: Pick<FastifyRequest, 'id'>): Principal {
  const principal = principals.get(request)
  if (principal === undefined) throw new TypeError('principalOf: fastifyAuth has not run for this request.')
  return principal
}

export type { AuthenticatorOptions } from '../http/authenticator.ts'
