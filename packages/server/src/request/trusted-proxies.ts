import type { IncomingMessage } from 'node:http'
import type { ClientInfo } from '@quintet/core'
import { parseAddressList, readForwarded, type Forwarded } from '@quintet/core/http'

/** Says how the client sees this server and where it is, and believes only known proxies about it. */
export interface TrustedProxies {
  /** Scheme and host. */
  origin(request: IncomingMessage): string
  /** The part of the path that a proxy has stripped, e.g. `/api/media`; empty without one. */
  prefix(request: IncomingMessage): string
  client(request: IncomingMessage): ClientInfo
}

/** @throws TypeError when an entry is neither an address nor a CIDR range. */
export function parseTrustedProxies(entries: readonly string[]): TrustedProxies {
  const trusted = parseAddressList(entries, 'http.trustedProxies')
  const forwarded = ({ headers, socket }: IncomingMessage): Forwarded =>
    readForwarded(headers, socket.remoteAddress, trusted)
  return {
    origin(request) {
      const { protocol = 'http', host = request.headers.host ?? 'localhost' } = forwarded(request)
      return `${protocol}://${host}`
    },
    prefix: (request) => forwarded(request).prefix,
    client: (request) => ({
      address: forwarded(request).address ?? null,
      userAgent: request.headers['user-agent'] ?? null,
    }),
  }
}
