import { BlockList, isIP } from 'node:net'
import type { IncomingMessage } from 'node:http'

/** Says under which scheme and host the client sees this server, and believes only known proxies about it. */
export interface TrustedProxies {
  origin(request: IncomingMessage): string
}

const hostPattern = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i

/** Whether a `Host` value is one host with an optional port. */
export function isHost(value: string): boolean {
  // The pattern lets ports and addresses through that are none.
  return hostPattern.test(value) && URL.canParse(`http://${value}`)
}

/** @throws TypeError when an entry is neither an address nor a CIDR range. */
export function parseTrustedProxies(entries: readonly string[]): TrustedProxies {
  const known = new BlockList()
  for (const entry of entries) addEntry(known, entry)

  const isTrusted = (address: string | undefined): boolean => {
    if (entries.length === 0 || address === undefined) return false
    const plain = address.startsWith('::ffff:') ? address.slice(7) : address
    return known.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4')
  }
  return {
    origin(request) {
      const host = request.headers.host ?? 'localhost'
      if (!isTrusted(request.socket.remoteAddress)) return `http://${host}`
      const proto = nearestOf(request.headers['x-forwarded-proto'])
      const forwardedHost = nearestOf(request.headers['x-forwarded-host'])
      return `${proto === 'https' ? 'https' : 'http'}://${forwardedHost !== undefined && isHost(forwardedHost) ? forwardedHost : host}`
    },
  }
}

function addEntry(known: BlockList, entry: string): void {
  const [address = '', prefix] = entry.split('/')
  const version = isIP(address)
  const bits = prefix === undefined ? undefined : Number(prefix)
  const widest = version === 6 ? 128 : 32
  if (version === 0 || (bits !== undefined && !(Number.isInteger(bits) && bits >= 0 && bits <= widest))) {
    throw new TypeError(
      `http.trustedProxies: ${JSON.stringify(entry)} is neither an address nor a range such as '10.0.0.0/8'.`,
    )
  }
  const family = version === 6 ? 'ipv6' : 'ipv4'
  if (bits === undefined) known.addAddress(address, family)
  else known.addSubnet(address, bits, family)
}

/** The value that the nearest proxy vouches for comes last; with one proxy there is only one. */
function nearestOf(value: string | string[] | undefined): string | undefined {
  const text = Array.isArray(value) ? value.at(-1) : value
  return text?.split(',').at(-1)?.trim().toLowerCase()
}
