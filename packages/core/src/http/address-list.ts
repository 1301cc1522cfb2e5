import { BlockList, isIP } from 'node:net'

/** A set of IP addresses and networks. */
export interface AddressList {
  has(address: string | undefined): boolean
}

/**
 * Reads addresses (`10.0.0.7`, `::1`) and networks in CIDR notation (`10.0.0.0/8`, `fd00::/8`).
 *
 * @throws TypeError naming the entry that is neither.
 *
 * @example
 * const proxies = parseAddressList(['10.0.0.0/8'], 'http.trustedProxies')
 * proxies.has(request.socket.remoteAddress)
 */
export function parseAddressList(entries: readonly string[], path: string): AddressList {
  const list = new BlockList()
  for (const entry of entries) addEntry(list, entry, path)
  // Asking an empty list would still cost a microsecond of every request.
  if (entries.length === 0) return { has: () => false }
  return {
    has(address) {
      if (address === undefined) return false
      const plain = plainAddress(address)
      const version = isIP(plain)
      return version !== 0 && list.check(plain, version === 4 ? 'ipv4' : 'ipv6')
    },
  }
}

function addEntry(list: BlockList, entry: string, path: string): void {
  const [address = '', bits, ...more] = String(entry).split('/')
  const version = isIP(address)
  const prefix = bits === undefined ? undefined : Number(bits)
  const bitsAreValid =
    prefix === undefined || (/^\d+$/.test(bits ?? '') && prefix <= (version === 4 ? 32 : 128))
  if (version === 0 || more.length > 0 || !bitsAreValid) {
    throw new TypeError(
      `${path}: ${JSON.stringify(entry)} is neither an IP address nor a network such as "10.0.0.0/8".`,
    )
  }
  const family = version === 4 ? 'ipv4' : 'ipv6'
  if (prefix === undefined) list.addAddress(address, family)
  else list.addSubnet(address, prefix, family)
}

/** The address without the IPv6 wrapping of an IPv4 one (`::ffff:10.0.0.7`) and without a zone (`fe80::1%eth0`). */
export function plainAddress(address: string): string {
  const zone = address.indexOf('%')
  const bare = zone < 0 ? address : address.slice(0, zone)
  return /^::ffff:\d+\./i.test(bare) ? bare.slice(7) : bare
}

/**
 * An IP address in its one canonical form (RFC 5952 for IPv6, IPv4 unwrapped, without a zone), so that six spellings of
 * an address are one client; undefined for what is no address.
 */
export function canonicalAddress(address: string | undefined): string | undefined {
  if (address === undefined) return undefined
  const plain = plainAddress(address.trim())
  const version = isIP(plain)
  if (version === 4) return plain
  if (version === 0) return undefined
  const canonical = new URL(`http://[${plain}]/`).hostname.slice(1, -1)
  const wrapped = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(canonical)
  return wrapped === null ? canonical : fromHalves(wrapped[1] ?? '', wrapped[2] ?? '')
}

function fromHalves(high: string, low: string): string {
  const bytes = [high, low]
    .map((half) => Number.parseInt(half, 16))
    .flatMap((half) => [half >> 8, half & 0xff])
  return bytes.join('.')
}

/**
 * What belongs to one customer of a network, for limits: an IPv4 address itself, an IPv6 one's /64 (RFC 6177), whose
 * holder has all 2^64 addresses of it.
 */
export function networkOf(address: string): string {
  const canonical = canonicalAddress(address)
  if (canonical === undefined || !canonical.includes(':')) return canonical ?? address
  const [head = '', tail] = canonical.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right]
  return `${canonicalAddress(`${groups.slice(0, 4).join(':')}::`) ?? canonical}/64`
}
