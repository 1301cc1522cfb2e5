/** A server as its URL names it. */
export type ServerAddress = (
  | { readonly host: string; readonly port: number; readonly tls: boolean }
  | { readonly socketPath: string }
) & { readonly username?: string; readonly password?: string }

/**
 * Reads `redis://[user[:password]@]host[:port]`, `rediss://…` or an absolute path of a unix socket.
 *
 * Never shows the text in an error, since it may hold a password.
 *
 * @throws TypeError naming the option when the text is something else.
 */
export function parseServerUrl(text: string, at: string): ServerAddress {
  if (text.startsWith('/')) return { socketPath: text }
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'redis:' && url.protocol !== 'rediss:') || url.hostname === '') {
    throw new TypeError(
      `${at}: not a Redis URL. Give redis://host:port, rediss://host:port or the path of a socket.`,
    )
  }
  if (url.search !== '' || url.hash !== '') {
    throw new TypeError(`${at}: a Redis URL takes no query. Give options beside it.`)
  }
  if (!['', '/', '/0'].includes(url.pathname)) {
    throw new TypeError(
      `${at}: the URL names the path ${url.pathname}. Clients choose their database by \`db\`.`,
    )
  }
  return {
    // IPv6 addresses stand in brackets in a URL and without them elsewhere.
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 6379 : Number(url.port),
    tls: url.protocol === 'rediss:',
    ...(url.username === '' ? {} : { username: decode(url.username, at) }),
    ...(url.password === '' ? {} : { password: decode(url.password, at) }),
  }
}

function decode(text: string, at: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new TypeError(`${at}: user name or password are not properly percent-encoded.`)
  }
}

/** The address for logs: without user and password. */
export function showAddress(address: ServerAddress): string {
  return 'socketPath' in address ? address.socketPath : `${address.host}:${address.port}`
}
