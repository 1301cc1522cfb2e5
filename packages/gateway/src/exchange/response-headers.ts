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

/**
 * The headers of an upstream's answer that go on to the client, as flat name and value pairs. The upstream knows nothing
 * of `prefix`, which was cut off the path: its redirects and the paths of its cookies get it back.
 */
export function readResponseHeaders(
  raw: readonly (Buffer | string)[],
  status: number,
  prefix = '',
): string[] {
  const forward: string[] = []
  let named: Set<string> | undefined
  for (let index = 0; index < raw.length; index += 2) {
    const name = text(raw[index])
    const lower = name.toLowerCase()
    if (!hopByHop.has(lower)) {
      // A 204 has no content by definition (RFC 9110, section 8.6).
      if (status === 204 && lower === 'content-length') continue
      const value = text(raw[index + 1])
      forward.push(name, prefix !== '' && withPaths.has(lower) ? withPrefix(lower, value, prefix) : value)
    } else if (lower === 'connection') {
      for (const token of text(raw[index + 1]).split(',')) {
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

function withPrefix(name: string, value: string, prefix: string): string {
  if (name !== 'set-cookie') return prefixed(value, prefix)
  // "/" stays: such a cookie is meant for the whole host, and names that start with "__Host-" must have it.
  return value.replace(
    /(;\s*path=)(\/[^;\s]+)/i,
    (_all, start: string, path: string) => start + prefixed(path, prefix),
  )
}

/** A path with the prefix in front, unless the upstream has put it there itself. Anything else stays as it is. */
function prefixed(path: string, prefix: string): string {
  if (!path.startsWith('/') || path.startsWith('//') || path.startsWith('/\\')) return path
  const after = path.startsWith(prefix) ? path.charAt(prefix.length) : 'x'
  return after === '' || '/?#'.includes(after) ? path : prefix + path
}

function text(value: Buffer | string | undefined): string {
  return typeof value === 'string' ? value : (value?.toString('latin1') ?? '')
}
