import { GatewayError } from '../errors.ts'
import { isHost } from '@quintet/core/http'

/** The path and query that a request asks for, in the one spelling that routes are matched against. */
export interface RequestTarget {
  /** Starts with one slash; escapes of unreserved characters are resolved (RFC 3986, section 6.2.2.2). */
  readonly path: string
  /** With its question mark, or empty. */
  readonly query: string
  /** The authority of an absolute-form target (RFC 9112, section 3.2.2), which then takes the place of `Host`. */
  readonly authority: string | undefined
}

const plainPath = /^\/(?!\/)(?:[^%\\.#\u0000-\u0020\u007f-\uffff]|(?<!\/)\.)*$/
const absoluteForm = /^https?:\/\/([^/?]*)((?:[/?].*)?)$/i
const escapeOfUnreserved = /%(?:2d|2e|5f|7e|3[0-9]|4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])/gi
const badEscape = /%(?![0-9a-f]{2})/i
const forbidden = /[\\#\u0000-\u0020\u007f-\uffff]|%00/

/**
 * Reads the target of a request line.
 *
 * A path that another hop could read as a different one is refused, never repaired: dot segments, also
 * when the dots or the slashes around them are escaped, backslashes, an empty first segment, NUL.
 *
 * @throws GatewayError `ERR_GATEWAY_BAD_REQUEST`
 */
export function parseRequestTarget(target: string): RequestTarget {
  let rest = target
  let authority: string | undefined
  if (target.charCodeAt(0) !== 47) {
    const match = absoluteForm.exec(target)
    if (!match || !isHost(match[1] ?? ''))
      throw new GatewayError(
        'ERR_GATEWAY_BAD_REQUEST',
        'The request target is neither a path nor an absolute URL.',
      )
    authority = match[1]
    rest = match[2] ?? ''
    if (rest === '' || rest.startsWith('?')) rest = `/${rest}`
  }
  const questionMark = rest.indexOf('?')
  const path = questionMark === -1 ? rest : rest.slice(0, questionMark)
  const query = questionMark === -1 ? '' : rest.slice(questionMark)
  if (query !== '' && /[#\u0000-\u0020\u007f-\uffff]/.test(query)) {
    throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The query has a character that must be escaped.')
  }
  return { path: plainPath.test(path) ? path : canonicalPath(path), query, authority }
}

function canonicalPath(path: string): string {
  if (forbidden.test(path))
    throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The path has a character that must be escaped.')
  if (badEscape.test(path))
    throw new GatewayError(
      'ERR_GATEWAY_BAD_REQUEST',
      'The path has an escape that is not two hexadecimal digits.',
    )
  if (path.startsWith('//'))
    throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The path starts with two slashes.')
  const canonical = path.replace(escapeOfUnreserved, (escape) =>
    String.fromCharCode(Number.parseInt(escape.slice(1), 16)),
  )
  for (const segment of canonical.split(/\/|%2f|%5c/i)) {
    // "..;" is a dot segment to servers that cut path parameters off.
    const name = segment.split(/;|%3b/i, 1)[0]
    if (name === '.' || name === '..')
      throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The path has a "." or ".." segment.')
  }
  return canonical
}
