import { asksForWebSocket, type RequestFacts } from './request-facts.ts'

export interface FetchFactsOptions {
  /** The address of the other end of the connection. @defaultValue unknown */
  readonly address?: string | undefined
}

/** The facts of a Web `Request`, which shows a header that was sent twice as one list. */
export function fetchFacts(request: Request, options: FetchFactsOptions = {}): RequestFacts {
  const header = (name: string): readonly string[] => {
    // What stands for a header in HTTP/2 is none here.
    const value = name.startsWith(':') ? null : request.headers.get(name)
    return value === null ? [] : [value]
  }
  return {
    method: request.method,
    url: request.url,
    header,
    upgrade: asksForWebSocket(header),
    address: options.address,
  }
}
