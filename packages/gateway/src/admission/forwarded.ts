import type { IncomingHttpHeaders } from 'node:http'
import { readForwarded, unknownAddress, type AddressList } from '@quintet/core/http'

/** Where a request comes from, as far as that is known for sure. */
export interface Origin {
  /** The client's address: the peer's, or what trusted proxies say; `unknown` where they say none. */
  readonly address: string
  readonly protocol: 'http' | 'https'
  /** What the client called the server. */
  readonly host: string
  /** The addresses from the client to the peer, for `X-Forwarded-For`. */
  readonly chain: string
  /** What trusted proxies have cut off the front of the path, without a slash at the end; empty for nothing. */
  readonly prefix: string
}

/** Finds the origin of a request, which came unencrypted: TLS ends before the gateway. */
export function findOrigin(
  peer: string | undefined,
  host: string,
  headers: IncomingHttpHeaders,
  trusted: AddressList,
): Origin {
  const said = readForwarded(headers, peer, trusted)
  const { chain } = said
  return {
    address: chain[0] ?? unknownAddress,
    protocol: said.protocol ?? 'http',
    host: said.host ?? host,
    chain: chain.join(', '),
    prefix: said.prefix,
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
