/** The prefix of the subprotocol entry in which a page hands over a token: it can set no header on a WebSocket. */
export const bearerPrefix = 'bearer.'

/** What a client offers in `Sec-WebSocket-Protocol`. */
export interface OfferedProtocols {
  /** The protocols that it speaks, the one it likes most first. */
  readonly names: readonly string[]
  /** The tokens of its `bearer.<token>` entries, which are never echoed. More than one is ambiguous: refuse it. */
  readonly tokens: readonly string[]
}

/** Reads a `Sec-WebSocket-Protocol` header (RFC 6455, section 11.3.4). */
export function offeredProtocols(header: string | undefined): OfferedProtocols {
  const entries = (header ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
  const isToken = (entry: string): boolean => entry.startsWith(bearerPrefix)
  return {
    names: entries.filter((entry) => !isToken(entry)),
    tokens: entries.filter(isToken).map((entry) => entry.slice(bearerPrefix.length)),
  }
}
