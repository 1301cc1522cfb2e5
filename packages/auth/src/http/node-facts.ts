import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { asksForWebSocket, type RequestFacts } from './request-facts.ts'

export interface NodeFactsOptions {
  /** The request target as the client sent it, where a framework has rewritten `url`. @defaultValue `request.url` */
  readonly target?: string
}

/** The facts of a request of `node:http` or `node:http2`. Reads each header as often as it was sent. */
export function nodeFacts(
  request: IncomingMessage | Http2ServerRequest,
  options: NodeFactsOptions = {},
): RequestFacts {
  const encrypted = 'encrypted' in request.socket && request.socket.encrypted === true
  const { rawHeaders } = request
  const header = (name: string): readonly string[] =>
    rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name)
  return {
    method: request.method ?? 'GET',
    url: addressOf(
      `${encrypted ? 'https' : 'http'}://${String(request.headers[':authority'] ?? request.headers.host ?? '')}`,
      options.target ?? request.url ?? '/',
    ),
    header,
    upgrade: asksForWebSocket(header),
    address: request.socket.remoteAddress,
  }
}

/** Always a URL: both parts are what a client sent. The target is never taken for a host, whatever it looks like. */
function addressOf(origin: string, target: string): string {
  const base =
    URL.canParse(origin) && new URL(origin).pathname === '/'
      ? new URL(origin).origin
      : 'http://unknown.invalid'
  if (target.startsWith('/')) return `${base}${target}`
  // The absolute form that proxies are asked in (RFC 9112 section 3.2.2).
  if (!URL.canParse(target)) return `${base}/`
  const { pathname, search } = new URL(target)
  return `${base}${pathname.startsWith('/') ? pathname : '/'}${search}`
}
