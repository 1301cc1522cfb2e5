import type { IncomingMessage } from 'node:http'
import type { ClientInfo } from '@quintet/core'
import { clientAddress, isHost, parseAddressList } from '@quintet/core/http'

/** Says how the client sees this server and where it is, and believes only known proxies about it. */
export interface TrustedProxies {
  /** Scheme and host. */
  origin(request: IncomingMessage): string
  /** The part of the path that a proxy has stripped, e.g. `/api/media`; empty without one. */
  prefix(request: IncomingMessage): string
  client(request: IncomingMessage): ClientInfo
}

const prefixPattern = /^(?:\/[\w\-.~!$&'()*+,;=:@]+)+\/?$/

/** @throws TypeError when an entry is neither an address nor a CIDR range. */
export function parseTrustedProxies(entries: readonly string[]): TrustedProxies {
  const trusted = parseAddressList(entries, 'http.trustedProxies')
  return {
    origin(request) {
      const host = request.headers.host ?? 'localhost'
      if (!trusted.has(request.socket.remoteAddress)) return `http://${host}`
      const proto = nearestOf(request.headers['x-forwarded-proto'])?.toLowerCase()
      const forwardedHost = nearestOf(request.headers['x-forwarded-host'])?.toLowerCase()
      return `${proto === 'https' ? 'https' : 'http'}://${forwardedHost !== undefined && isHost(forwardedHost) ? forwardedHost : host}`
    },
    prefix(request) {
      const given = request.headers['x-forwarded-prefix']
      if (given === undefined || !trusted.has(request.socket.remoteAddress)) return ''
      const prefix = nearestOf(given) ?? ''
      return prefixPattern.test(prefix) ? prefix.replace(/\/$/, '') : ''
    },
    client(request) {
      const { remoteAddress } = request.socket
      return {
        address: clientAddress(remoteAddress, request.headers['x-forwarded-for'], trusted) ?? null,
        userAgent: request.headers['user-agent'] ?? null,
      }
    },
  }
}

/** The value that the nearest proxy vouches for comes last; with one proxy there is only one. */
function nearestOf(value: string | string[] | undefined): string | undefined {
  const text = Array.isArray(value) ? value.at(-1) : value
  return text?.split(',').at(-1)?.trim()
}
