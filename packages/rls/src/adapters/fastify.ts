import type { FastifyRequest } from 'fastify'
import { runInScope } from '../context/rls-context.ts'
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
