import type { IncomingMessage } from 'node:http'
import { networkOf } from '@quintet/core/http'
import type { Affinity } from '../options/route-options.ts'

/**
 * The value by which requests belong together, or undefined when this one has none. A client of IPv6 is its /64: it has
 * all the addresses of that.
 */
export function affinityKey(
  affinity: Affinity,
  request: IncomingMessage,
  clientAddress: string,
): string | undefined {
  if (affinity === 'client') return networkOf(clientAddress)
  if (affinity === 'tenant') return tenantHint(request)
  if ('header' in affinity) {
    const value = request.headers[affinity.header]
    return Array.isArray(value) ? value.join(',') : value
  }
  return cookie(request.headers.cookie, affinity.cookie)
}

/** The claims of a token in the header, or among the subprotocols of a browser's WebSocket. */
const bearerHeader = /^(?:bearer|dpop) +[\w-]+\.([\w-]{1,8192})\./i
const bearerProtocol = /(?:^|,)\s*bearer\.[\w-]+\.([\w-]{1,8192})\./

/**
 * The `tid` claim of the bearer token, read and not verified. Good enough to choose an upstream or to show a
 * maintenance notice, because whoever lies about it only meets an app that refuses the token.
 */
export function tenantHint(request: IncomingMessage): string | undefined {
  const { authorization = '', 'sec-websocket-protocol': protocols = '' } = request.headers
  const match = bearerHeader.exec(authorization) ?? bearerProtocol.exec(protocols)
  if (!match) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(match[1] ?? '', 'base64url').toString('utf8'))
    const tenant =
      typeof claims === 'object' && claims !== null ? (claims as { tid?: unknown }).tid : undefined
    return typeof tenant === 'string' && tenant !== '' ? tenant : undefined
  } catch {
    return undefined
  }
}

function cookie(header: string | undefined, name: string): string | undefined {
  for (const pair of header?.split(';') ?? []) {
    const equals = pair.indexOf('=')
    if (equals !== -1 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim()
  }
  return undefined
}
