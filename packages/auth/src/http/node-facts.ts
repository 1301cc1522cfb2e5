import type { IncomingMessage } from 'node:http'
import type { RequestFacts } from './request-facts.ts'

/** The facts of a request of `node:http`. Reads each header as often as it was sent. */
export function nodeFacts(
  request: IncomingMessage,
  options: { readonly upgrade?: boolean } = {},
): RequestFacts {
  const encrypted = 'encrypted' in request.socket && request.socket.encrypted === true
  const host = request.headers.host ?? 'localhost'
  return {
    method: request.method ?? 'GET',
    url: `${encrypted ? 'https' : 'http'}://${host}${request.url ?? '/'}`,
    header: (name) => request.headersDistinct[name] ?? [],
    upgrade: options.upgrade === true,
  }
}
