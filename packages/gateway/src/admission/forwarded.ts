import type { IncomingHttpHeaders } from 'node:http'
import { canonicalAddress, type AddressList } from '@quintet/core/http'

/** Where a request comes from, as far as that is known for sure. */
export interface Origin {
  /** The client's address: the peer's, or what trusted proxies say; {@link unknownAddress} where they say none. */
  readonly address: string
  readonly protocol: 'http' | 'https'
  /** What the client called the server. */
  readonly host: string
  /** The addresses from the client to the peer, for `X-Forwarded-For`. */
  readonly chain: string
  /** What trusted proxies have cut off the front of the path, without a slash at the end; empty for nothing. */
  readonly prefix: string
}

/** The client of trusted proxies that name none (RFC 7239, section 6.2). It is not the proxy. */
export const unknownAddress = 'unknown'

const prefixPattern = /^(?:\/(?!\.{1,2}(?:\/|$))[a-z0-9._~-]+)+$/i

/**
 * Finds the origin of a request. The headers count only where the peer is a trusted proxy, and of the
 * addresses in `X-Forwarded-For` the last one that is not a trusted proxy is the client. Where that is no address the
 * client is unknown.
 */
export function findOrigin(
  peer: string,
  encrypted: boolean,
  host: string,
  headers: IncomingHttpHeaders,
  trusted: AddressList,
): Origin {
  const address = canonicalAddress(peer) ?? unknownAddress
  const protocol = encrypted ? 'https' : 'http'
  if (!trusted.has(address)) return { address, protocol, host, chain: address, prefix: '' }

  const hops = list(headers['x-forwarded-for'])
  let client = address
  const known = [address]
  for (const hop of hops.toReversed()) {
    client = hopAddress(hop) ?? unknownAddress
    known.unshift(client)
    if (!trusted.has(client)) break
  }
  const claimedProtocol = list(headers['x-forwarded-proto']).at(-1)
  const claimedPrefix = list(headers['x-forwarded-prefix']).at(-1) ?? ''
  const claimedHost = list(headers['x-forwarded-host']).at(-1)
  return {
    address: client,
    protocol: claimedProtocol === 'https' || claimedProtocol === 'http' ? claimedProtocol : protocol,
    host: claimedHost !== undefined && /^[a-z0-9._~:[\]-]+$/i.test(claimedHost) ? claimedHost : host,
    chain: known.join(', '),
    prefix: prefixPattern.test(claimedPrefix) ? claimedPrefix : '',
  }
}

/**
 * Writes the origin for the upstream: `X-Forwarded-*` and `Forwarded` (RFC 7239). `prefix` is what the client's path
 * has in front of the one that the upstream is asked for.
 */
export function writeForwarded(headers: string[], origin: Origin, prefix: string): void {
  const node = origin.address.includes(':') ? `"[${origin.address}]"` : origin.address
  headers.push(
    'x-forwarded-for',
    origin.chain,
    'x-forwarded-proto',
    origin.protocol,
    'x-forwarded-host',
    origin.host,
    'forwarded',
    `for=${node};host="${origin.host}";proto=${origin.protocol}`,
  )
  if (prefix !== '') headers.push('x-forwarded-prefix', prefix)
}

/** The address of a hop. Some proxies write its port as well, and the quotes of `Forwarded`. */
function hopAddress(hop: string): string | undefined {
  const bare = hop.replace(/^"(.*)"$/, '$1')
  const withPort = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(bare) ?? /^([^:]+):\d{1,5}$/.exec(bare)
  return canonicalAddress(withPort?.[1] ?? bare)
}

function list(value: string | string[] | undefined): string[] {
  if (value === undefined) return []
  return (Array.isArray(value) ? value.join(',') : value)
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
