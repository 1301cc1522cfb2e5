import { parseAddressList, type AddressList } from '@quintet/core/http'
import type { RequestFacts } from './request-facts.ts'

export interface PublicUrlOptions {
  /**
   * The origin under which clients know this server, e.g. `https://api.example.com`. Proofs of possession (DPoP) are
   * made for it; without it they are refused, since the Host header is what the client says.
   */
  readonly origin?: string
  /** The path before ours that a proxy has stripped, e.g. `/api/media`. @defaultValue none */
  readonly prefix?: string
  /** Addresses and networks of proxies whose `X-Forwarded-Prefix` is believed. @defaultValue none */
  readonly trustedProxies?: readonly string[]
}

/** Finds the URL that a client has asked for. */
export interface PublicUrl {
  /** Whether it is known for sure, and not from what the client says. */
  readonly isKnown: boolean
  of(request: RequestFacts): string
}

const pathPattern = /^(?:\/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+$/
const maxPrefixLength = 512

/** @throws TypeError naming what is wrong. */
export function readPublicUrl(options: PublicUrlOptions, path: string): PublicUrl {
  const { origin, prefix = '', trustedProxies = [] } = options
  if (origin !== undefined && (!URL.canParse(origin) || new URL(origin).origin !== origin)) {
    throw new TypeError(
      `${path}.origin: ${JSON.stringify(origin)} is no origin such as "https://api.example.com".`,
    )
  }
  if (prefix !== '' && !isPrefix(prefix)) {
    throw new TypeError(`${path}.prefix: ${JSON.stringify(prefix)} is no path such as "/api/media".`)
  }
  if (!Array.isArray(trustedProxies)) throw new TypeError(`${path}.trustedProxies: give a list of addresses.`)
  const proxies = parseAddressList(trustedProxies, `${path}.trustedProxies`)
  return {
    isKnown: origin !== undefined,
    of(request) {
      const url = new URL(request.url)
      const stripped = forwardedPrefix(request, proxies) ?? prefix
      return `${origin ?? url.origin}${stripped}${url.pathname}${url.search}`
    },
  }
}

function forwardedPrefix(request: RequestFacts, proxies: AddressList): string | undefined {
  if (!proxies.has(request.address)) return undefined
  const [given, ...more] = request.header('x-forwarded-prefix')
  if (given === undefined || more.length > 0) return undefined
  const plain = given.replace(/\/$/, '')
  return plain === '' || isPrefix(plain) ? plain : undefined
}

function isPrefix(text: string): boolean {
  return (
    text.length <= maxPrefixLength &&
    pathPattern.test(text) &&
    // As it stands, not as a URL would be simplified.
    new URL(text, 'http://localhost').pathname === text
  )
}
