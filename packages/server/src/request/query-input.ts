import type { IncomingMessage } from 'node:http'
import { serverError } from '../errors.ts'
import { parseJson } from '../json.ts'
import type { Cors } from './cors.ts'
import { declaredLength, tooLarge } from './read-body.ts'

/**
 * Refuses a request that a browser sends for a page of another origin, unless CORS lets that page read the answer.
 * A GET needs no preflight, so that a foreign page could otherwise have it sent with the cookies of its visitor.
 *
 * @throws QuintetError `ERR_SERVER_ORIGIN_REFUSED`.
 * @see https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
 */
export function refuseForeignPages(request: IncomingMessage, cors: Cors | undefined): void {
  const from = request.headers['sec-fetch-site']
  if (from === undefined || from === 'same-origin' || from === 'none') return
  if (cors?.allows(request) === true) return
  throw serverError('ERR_SERVER_ORIGIN_REFUSED', 'Pages of this origin may not call.')
}

/**
 * Reads the input of a call by GET: JSON, percent-encoded, in the query parameter `input`; undefined without one.
 *
 * @throws QuintetError `ERR_SERVER_BAD_REQUEST` for a body or any other parameter, `ERR_SERVER_TOO_LARGE`,
 *   `ERR_SERVER_BODY_INVALID`.
 */
export async function readQueryInput(
  request: IncomingMessage,
  limit: number,
  wanted: boolean,
): Promise<unknown> {
  if (declaredLength(request) !== 0) {
    throw serverError('ERR_SERVER_BAD_REQUEST', 'A call by GET has no body; its input stands in the query.')
  }
  const parameters = [...parseQuery(request.url ?? '/')]
  const [first, ...others] = parameters
  if (first === undefined) return undefined
  if (others.length > 0 || first[0] !== 'input') {
    throw serverError(
      'ERR_SERVER_BAD_REQUEST',
      'The query of a call holds the parameter "input" alone, once.',
    )
  }
  const [, text] = first
  if (Buffer.byteLength(text) > limit) throw tooLarge(limit)
  return wanted ? parseJson(text) : undefined
}

/**
 * The parameters of a request target.
 *
 * @throws QuintetError `ERR_SERVER_BAD_REQUEST` for one that is no UTF-8; it would reach a handler with other letters.
 */
export function parseQuery(target: string): URLSearchParams {
  const mark = target.indexOf('?')
  const query = mark === -1 ? '' : target.slice(mark + 1)
  if (query.includes('%')) {
    try {
      // An escape that is none stands for itself in a query.
      decodeURIComponent(query.replaceAll(/%(?![0-9a-f]{2})/gi, '%25'))
    } catch {
      throw serverError('ERR_SERVER_BAD_REQUEST', 'The query is not UTF-8.')
    }
  }
  return new URLSearchParams(query)
}
