import { refuseUnknownKeys } from '@quintet/core/kit'
import { createScope, parseRlsContext, type RlsContextInput, type RlsScope } from '../context/rls-context.ts'

export interface RequestContextOptions<Request> {
  /** The context of an authenticated request, from what the server knows; null for none. */
  readonly context: (request: Request) => RlsContextInput | null | undefined
}

/** Reads the scope of a request; undefined closes whatever scope is around. */
export function scopeFrom<Request>(
  options: RequestContextOptions<Request>,
  path: string,
): (request: Request) => RlsScope | undefined {
  refuseUnknownKeys(options, ['context'], path)
  const read = options.context
  if (typeof read !== 'function')
    throw new TypeError(`${path}.context: give a function that reads the request.`)
  return (request) => {
    const context = read(request)
    return context ? createScope(parseRlsContext(context)) : undefined
  }
}
