import { runInScope } from '../context/rls-context.ts'
import { scopeFrom, type RequestContextOptions } from './request-context.ts'

type HonoMiddleware<Context> = (context: Context, next: () => Promise<void>) => Promise<void>

/** Hono middleware that opens the row-level security context of a request for everything behind it. */
export function rlsContext<Context>(options: RequestContextOptions<Context>): HonoMiddleware<Context> {
  const scopeOf = scopeFrom(options, 'rlsContext')
  return async (context, next) => runInScope(scopeOf(context), next)
}
