import type { IncomingMessage } from 'node:http'
import { serverError } from '../errors.ts'
import { isHost } from '@quintet/core/http'

/**
 * Refuses a request that two readers could understand differently: two hosts, two lengths, two
 * authorizations, a length beside a transfer coding, a target that is not a plain path.
 *
 * @returns the path of the target, without its query.
 * @throws QuintetError `ERR_SERVER_BAD_REQUEST`, `ERR_SERVER_METHOD_UNKNOWN`.
 * @see RFC 9112 sections 3.2 and 6.1
 */
export function admit(request: IncomingMessage): string {
  if (request.method === 'TRACE' || request.method === 'CONNECT') {
    throw serverError('ERR_SERVER_METHOD_UNKNOWN', `The method ${request.method} is not served.`)
  }
  checkHeaders(request.rawHeaders)
  const { host } = request.headers
  if (host !== undefined && host !== lastHost) {
    if (!isHost(host)) throw bad('The Host header is not a host.')
    lastHost = host
  }
  const target = request.url ?? '/'
  if (!target.startsWith('/')) request.url = originForm(target, host)
  return pathOf(request.url ?? '/')
}

/** The last good one; most requests name the same. */
let lastHost: string | undefined

function checkHeaders(rawHeaders: readonly string[]): void {
  let hosts = 0
  let lengths = 0
  let codings = 0
  let authorizations = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    // Only names of these lengths matter, which spares most of them the comparison.
    if (name.length === 4 && same(name, 'host')) hosts++
    else if (name.length === 14 && same(name, 'content-length')) lengths++
    else if (name.length === 17 && same(name, 'transfer-encoding')) {
      codings++
      checkCoding(rawHeaders[index + 1] ?? '')
    } else if (name.length === 13 && same(name, 'authorization')) authorizations++
    else if (name.includes('_') && /^(?:content_length|transfer_encoding)$/i.test(name)) {
      throw bad(`The header ${name} is ambiguous.`)
    }
  }
  if (hosts > 1) throw bad('There is more than one Host header.')
  if (lengths > 1 || codings > 1 || (lengths > 0 && codings > 0))
    throw bad('The length of the body is ambiguous.')
  if (authorizations > 1) throw bad('There is more than one Authorization header.')
}

/** @see RFC 9112 section 6.1: a coding that is not understood is answered with 501. */
function checkCoding(value: string): void {
  if (value === 'chunked' || value.trim().toLowerCase() === 'chunked') return
  throw serverError('ERR_SERVER_CODING_UNSUPPORTED', 'The only transfer coding is chunked.')
}

function same(name: string, expected: string): boolean {
  return name === expected || name.toLowerCase() === expected
}

const plainPath = /^\/[\w\-.~!$&'()*+,;=:@/%[\]{}|^`"<>]*$/
const badEscape = /%(?![0-9a-f]{2})|%00/i
/** Also between encoded separators, because a handler gets its parameters decoded. */
const dotSegment = /(?:^|\/|%2f|%5c)(?:\.|%2e){1,2}(?:\/|%2f|%5c|$)/i

/** The target as a path with its query; a URL of this host becomes one. */
function originForm(target: string, host: string | undefined): string {
  const url = URL.canParse(target) ? new URL(target) : undefined
  const plain =
    url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
  if (!plain || host === undefined || url.host !== new URL(`http://${host}`).host) {
    throw bad('The request target is neither a path nor a URL of this host.')
  }
  const rest = target.slice(target.indexOf('//') + 2).replace(/^[^/?#]*/, '')
  return rest.startsWith('/') ? rest : `/${rest}`
}

function pathOf(relative: string): string {
  const mark = relative.indexOf('?')
  const path = mark === -1 ? relative : relative.slice(0, mark)
  if (!plainPath.test(path)) throw bad('The path holds a character that must be percent-encoded.')
  if (path.includes('%') && (badEscape.test(path) || !isDecodable(path)))
    throw bad('The path is badly percent-encoded.')
  if (path.includes('/.') || path.includes('%2') || path.includes('%5')) {
    if (dotSegment.test(path)) throw bad('The path holds a dot segment.')
  }
  return path
}

function isDecodable(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

function bad(message: string): Error {
  return serverError('ERR_SERVER_BAD_REQUEST', message)
}
