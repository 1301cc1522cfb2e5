import { isHost } from '@quintet/core/http'
import { GatewayError } from '../errors.ts'
import { isOriginClaim } from '../options/origin-claims.ts'

/** The headers of a request as the gateway found them, and what of them goes on. */
export interface RequestHeaders {
  /** Flat name and value pairs without what concerns only the client's connection. */
  readonly forward: string[]
  readonly host: string
  /** True when a body follows. */
  readonly hasBody: boolean
  readonly chunked: boolean
  /** Undefined when the body is chunked or there is none. */
  readonly contentLength: number | undefined
}

/** What concerns one connection only (RFC 9110, section 7.6.1), or is written anew by the gateway. */
const notForwarded: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'forwarded',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-forwarded-proto',
  'x-real-ip',
  'x-request-id',
])

/** Names that a client cannot have removed by listing them in `Connection`. */
const neverNamed: ReadonlySet<string> = new Set([
  'authorization',
  'content-type',
  'content-encoding',
  'cookie',
  'host',
  'origin',
])

/** Header fields of which a second one would be read otherwise by another server (RFC 9110, section 5.3). */
const single: ReadonlySet<string> = new Set(['authorization', 'content-type'])

/** The host that was read last: most clients of a gateway name the same one. */
let lastHost = ''

/** How the headers of one request are read. */
export interface HeaderPolicy {
  /** A further name that does not go on, in lower case. */
  readonly dropped?: string | undefined
  /** The peer is a trusted proxy: what it says about the client goes on, where the gateway does not write it anew. */
  readonly trusted?: boolean
}

/**
 * Checks the headers of a request and takes out what must not reach the upstream.
 *
 * @throws GatewayError `ERR_GATEWAY_BAD_REQUEST` for every header section that two servers could read in
 *   two ways, `ERR_GATEWAY_NOT_IMPLEMENTED` for a transfer coding other than `chunked`.
 */
export function readRequestHeaders(
  raw: readonly string[],
  { dropped, trusted = false }: HeaderPolicy = {},
): RequestHeaders {
  const forward: string[] = []
  let host: string | undefined
  let contentLength: number | undefined
  let chunked = false
  let named: Set<string> | undefined
  let seen: Set<string> | undefined
  let traces = 0

  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] as string
    const value = raw[index + 1] as string
    const lower = name.toLowerCase()
    if (lower.includes('_')) throw refused(`The header name ${JSON.stringify(name)} has an underscore.`)
    if (lower === dropped) continue
    if (!notForwarded.has(lower)) {
      if (!trusted && isOriginClaim(lower)) continue
      if (lower === 'traceparent') traces += 1
      if (single.has(lower)) {
        if (seen?.has(lower)) throw refused(`There is more than one header named "${lower}".`)
        ;(seen ??= new Set()).add(lower)
      }
      forward.push(lower, value)
      continue
    }
    switch (lower) {
      case 'host':
        if (host !== undefined) throw refused('There is more than one Host header.')
        if (value !== lastHost && !isHost(value))
          throw refused('The Host header is not a host name with an optional port.')
        host = lastHost = value
        break
      case 'content-length':
        if (contentLength !== undefined) throw refused('There is more than one Content-Length header.')
        if (!/^\d{1,15}$/.test(value)) throw refused('The Content-Length header is not a number of bytes.')
        contentLength = Number(value)
        break
      case 'transfer-encoding':
        if (chunked) throw refused('There is more than one Transfer-Encoding header.')
        if (value.toLowerCase() !== 'chunked') {
          throw new GatewayError(
            'ERR_GATEWAY_NOT_IMPLEMENTED',
            'The only transfer coding that is supported is "chunked".',
          )
        }
        chunked = true
        break
      case 'connection':
        for (const token of value.split(',')) {
          const option = token.trim().toLowerCase()
          if (option !== '' && !neverNamed.has(option)) (named ??= new Set()).add(option)
        }
        break
    }
  }
  if (chunked && contentLength !== undefined) {
    throw refused('There are both a Content-Length and a Transfer-Encoding header.')
  }
  // Two parents are none (W3C Trace Context, section 3.2.2): joined, they would be an invalid one.
  if (traces > 1) (named ??= new Set()).add('traceparent').add('tracestate')
  return {
    forward: named === undefined ? forward : without(forward, named),
    host: host ?? '',
    chunked,
    hasBody: chunked || (contentLength ?? 0) > 0,
    contentLength,
  }
}

function without(pairs: readonly string[], names: ReadonlySet<string>): string[] {
  const kept: string[] = []
  for (let index = 0; index < pairs.length; index += 2) {
    const name = pairs[index] as string
    if (!names.has(name)) kept.push(name, pairs[index + 1] as string)
  }
  return kept
}

function refused(message: string): GatewayError {
  return new GatewayError('ERR_GATEWAY_BAD_REQUEST', message)
}
