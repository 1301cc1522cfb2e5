import { parseAddressList, readForwarded } from '@quintet/core/http'
import { option, type ResolvedOptions } from '@quintet/core/kit'
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

/** How the options of a public URL are read. */
export const publicUrlSpec = {
  origin: option
    .url(undefined, { protocols: ['http:', 'https:'], origin: true })
    .map((url) => url.origin)
    .optional(),
  prefix: option.parsed('a path such as "/api/media"', readPrefix).or(''),
  trustedProxies: option.list(option.text()).map((addresses, path) => parseAddressList(addresses, path)),
}

export function createPublicUrl({
  origin,
  prefix,
  trustedProxies,
}: ResolvedOptions<typeof publicUrlSpec>): PublicUrl {
  return {
    isKnown: origin !== undefined,
    of(request) {
      const url = new URL(request.url)
      const said = { 'x-forwarded-prefix': request.header('x-forwarded-prefix') }
      const stripped = readForwarded(said, request.address, trustedProxies).prefix || prefix
      return `${origin ?? url.origin}${stripped}${url.pathname}${url.search}`
    },
  }
}

function readPrefix(given: unknown, path: string): string {
  if (given === '' || (typeof given === 'string' && isPrefix(given))) return given
  throw new TypeError(`${path}: ${JSON.stringify(given)} is not a path such as "/api/media".`)
}

function isPrefix(text: string): boolean {
  return (
    text.length <= maxPrefixLength &&
    pathPattern.test(text) &&
    // As it stands, not as a URL would be simplified.
    new URL(text, 'http://localhost').pathname === text
  )
}
