import type { RequestFacts } from './request-facts.ts'

/** The facts of a Web `Request`, which shows a header that was sent twice as one list. */
export function fetchFacts(request: Request): RequestFacts {
  return {
    method: request.method,
    url: request.url,
    header: (name) => {
      const value = request.headers.get(name)
      return value === null ? [] : [value]
    },
    upgrade: false,
  }
}
