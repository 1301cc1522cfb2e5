import { runInScope } from '../context/rls-context.ts'
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
