/** What concerns one connection only (RFC 9110, section 7.6.1). */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Names that an upstream cannot have removed by listing them in `Connection`. */
const neverNamed: ReadonlySet<string> = new Set([
  'content-length',
  'content-type',
  'set-cookie',
  'cache-control',
])

/** Headers in which an upstream names paths of its own. */
const withPaths: ReadonlySet<string> = new Set(['location', 'content-location', 'set-cookie'])

/** Where the paths that an upstream names are to be found by the client. */
export interface PathRewrite {
  /** What the upstream's own paths start with, without a slash at the end; empty for nothing. */
  readonly from: string
  /** What the client's have in its place. */
  readonly to: string
  /** What the client called the server: URLs of this host are the upstream's own. */
  readonly host: string
}

/**
 * The headers of an upstream's answer that go on to the client, as flat name and value pairs. The upstream knows nothing
 * of the path under which it is reached: its redirects and the paths of its cookies get it back.
 */
export function readResponseHeaders(raw: readonly string[], status: number, rewrite?: PathRewrite): string[] {
  const forward: string[] = []
  let named: Set<string> | undefined
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] as string
    const lower = name.toLowerCase()
    if (!hopByHop.has(lower)) {
      // A 204 has no content by definition (RFC 9110, section 8.6).
      if (status === 204 && lower === 'content-length') continue
      const value = raw[index + 1] as string
      forward.push(name, rewrite && withPaths.has(lower) ? rewritten(lower, value, rewrite) : value)
    } else if (lower === 'connection') {
      for (const token of (raw[index + 1] as string).split(',')) {
        const option = token.trim().toLowerCase()
        if (option !== '' && option !== 'close' && option !== 'keep-alive' && !neverNamed.has(option))
          (named ??= new Set()).add(option)
      }
    }
  }
  if (named === undefined) return forward
  const kept: string[] = []
  for (let index = 0; index < forward.length; index += 2) {
    const name = forward[index] as string
    if (!named.has(name.toLowerCase())) kept.push(name, forward[index + 1] as string)
  }
  return kept
}

function rewritten(name: string, value: string, rewrite: PathRewrite): string {
  if (name !== 'set-cookie') return rewriteUrl(value, rewrite)
  // "/" stays: such a cookie is meant for the whole host, and names that start with "__Host-" must have it.
  return value.replace(
    /(;\s*path="?)(\/[^;\s"]+)/i,
    (_all, start: string, path: string) => start + rewritePath(path, rewrite),
  )
}

/** A path, or a URL of the host that the upstream was told. Other URLs stay. */
function rewriteUrl(value: string, rewrite: PathRewrite): string {
  const [, origin = '', host, path = ''] = /^(https?:\/\/([^/?#\\]*))?(.*)$/i.exec(value) ?? []
  if (host !== undefined && host.toLowerCase() !== rewrite.host.toLowerCase()) return value
  return origin + rewritePath(path, rewrite)
}

/** A path of the upstream as the client's, unless the upstream has already written that. Anything else stays as it is. */
function rewritePath(path: string, { from, to }: PathRewrite): string {
  if (!path.startsWith('/') || path.startsWith('//') || path.startsWith('/\\')) return path
  if (from === '' ? isBelow(path, to) && to !== '' : !isBelow(path, from)) return path
  const moved = to + path.slice(from.length)
  return moved.startsWith('/') ? moved : `/${moved}`
}

function isBelow(path: string, folder: string): boolean {
  const after = path.startsWith(folder) ? path.charAt(folder.length) : 'x'
  return after === '' || '/?#'.includes(after)
}
