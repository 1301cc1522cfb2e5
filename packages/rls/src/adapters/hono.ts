import type { Context } from 'hono'
import { runInScope } from '../context/rls-context.ts'
import { scopeFrom, type RequestContextOptions } from './request-context.ts'

type HonoMiddleware<Request> = (context: Request, next: () => Promise<void>) => Promise<void>

/** Hono middleware that opens the row-level security context of a request for everything behind it. */
export function rlsContext<Request = Context>(
  options: RequestContextOptions<Request>,
): HonoMiddleware<Request> {
  const scopeOf = scopeFrom(options, 'rlsContext')
  return async (context, next) => runInScope(scopeOf(context), next)
}
