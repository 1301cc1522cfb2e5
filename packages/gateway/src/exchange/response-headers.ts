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

/** The headers of an upstream's answer that go on to the client, as flat name and value pairs. */
export function readResponseHeaders(raw: readonly (Buffer | string)[], status: number): string[] {
  const forward: string[] = []
  let named: Set<string> | undefined
  for (let index = 0; index < raw.length; index += 2) {
    const name = text(raw[index])
    const lower = name.toLowerCase()
    if (!hopByHop.has(lower)) {
      // A 204 has no content by definition (RFC 9110, section 8.6).
      if (status !== 204 || lower !== 'content-length') forward.push(name, text(raw[index + 1]))
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

function text(value: Buffer | string | undefined): string {
  return typeof value === 'string' ? value : (value?.toString('latin1') ?? '')
}
