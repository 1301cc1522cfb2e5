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
