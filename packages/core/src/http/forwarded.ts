import { canonicalAddress, type AddressList } from './address-list.ts'
import { isHost } from './host.ts'

/** What trusted proxies say of a request: where it comes from, and how its client addressed it. */
export interface Forwarded {
  /** The address of the client in canonical form: the peer's, or the last hop that is no trusted proxy; undefined where that is no address. */
  readonly address: string | undefined
  /** The addresses from the client to the peer, as they are known; {@link unknownAddress} for what is no address. */
  readonly chain: readonly string[]
  /** By which protocol the client came to the nearest proxy; undefined where that is not said. */
  readonly protocol: 'http' | 'https' | undefined
  /** The host that the client asked for; undefined where that is not said. */
  readonly host: string | undefined
  /** What has been cut off the front of the path, without a slash at the end; empty for nothing. */
  readonly prefix: string
}

/** A client that trusted proxies do not name (RFC 7239, section 6.2). It is not the proxy. */
export const unknownAddress = 'unknown'

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>

/** Segments of unreserved characters (RFC 3986, section 2.3), none of them a dot segment. */
const prefixPattern = /^(?:\/(?!\.{1,2}(?:\/|$))[a-z0-9._~-]+)+\/?$/i
const maxPrefixLength = 512

/**
 * Reads `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix`. They count only where the peer is a trusted proxy; of
 * several values the nearest proxy's comes last and counts, and what is malformed says nothing. Each is read when it is
 * asked for.
 *
 * @param headers by their lower-case names.
 * @param peer the address of the other end of the connection.
 *
 * @example
 * const { address } = readForwarded(request.headers, request.socket.remoteAddress, proxies)
 */
export function readForwarded(headers: Headers, peer: string | undefined, proxies: AddressList): Forwarded {
  const address = canonicalAddress(peer)
  return proxies.has(address) ? new Said(headers, address ?? '', proxies) : new Unsaid(address)
}

/** Of a peer whose word does not count. */
class Unsaid implements Forwarded {
  readonly address: string | undefined
  readonly protocol = undefined
  readonly host = undefined
  readonly prefix = ''

  constructor(address: string | undefined) {
    this.address = address
  }

  get chain(): readonly string[] {
    return [this.address ?? unknownAddress]
  }
}

class Said implements Forwarded {
  readonly #headers: Headers
  readonly #peer: string
  readonly #proxies: AddressList

  constructor(headers: Headers, peer: string, proxies: AddressList) {
    this.#headers = headers
    this.#peer = peer
    this.#proxies = proxies
  }

  get address(): string | undefined {
    const [client] = this.chain
    return client === unknownAddress ? undefined : client
  }

  get chain(): readonly string[] {
    const known = [this.#peer]
    // No trusted proxy vouches for what stands further left than the first hop that is none.
    for (const hop of valuesOf(this.#headers['x-forwarded-for']).toReversed()) {
      const address = hopAddress(hop)
      known.unshift(address ?? unknownAddress)
      if (!this.#proxies.has(address)) break
    }
    return known
  }

  get protocol(): 'http' | 'https' | undefined {
    const protocol = nearest(this.#headers['x-forwarded-proto'])?.toLowerCase()
    return protocol === 'http' || protocol === 'https' ? protocol : undefined
  }

  get host(): string | undefined {
    const host = nearest(this.#headers['x-forwarded-host'])
    return host !== undefined && isHost(host) ? host : undefined
  }

  get prefix(): string {
    const prefix = nearest(this.#headers['x-forwarded-prefix']) ?? ''
    if (prefix.length > maxPrefixLength || !prefixPattern.test(prefix)) return ''
    return prefix.replace(/\/$/, '')
  }
}

/** The address of a hop. Some proxies write its port as well, and the quotes of `Forwarded`. */
function hopAddress(hop: string): string | undefined {
  const bare = hop.replace(/^"(.*)"$/, '$1')
  const withPort = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(bare) ?? /^([^:]+):\d{1,5}$/.exec(bare)
  return canonicalAddress(withPort?.[1] ?? bare)
}

function nearest(value: string | readonly string[] | undefined): string | undefined {
  return valuesOf(value).at(-1)
}

function valuesOf(value: string | readonly string[] | undefined): string[] {
  if (value === undefined) return []
  return (typeof value === 'string' ? value : value.join(','))
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
