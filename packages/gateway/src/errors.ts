import { type ErrorKind, QuintetError } from '@quintet/core'

/** Every reason for which the gateway answers a request itself, or does not start. */
export type GatewayErrorCode =
  | 'ERR_GATEWAY_BAD_REQUEST'
  | 'ERR_GATEWAY_BODY_TOO_LARGE'
  | 'ERR_GATEWAY_HEADERS_TOO_LARGE'
  | 'ERR_GATEWAY_INTERNAL'
  | 'ERR_GATEWAY_LISTEN_FAILED'
  | 'ERR_GATEWAY_MAINTENANCE'
  | 'ERR_GATEWAY_NOT_IMPLEMENTED'
  | 'ERR_GATEWAY_NO_ROUTE'
  | 'ERR_GATEWAY_NO_UPSTREAM'
  | 'ERR_GATEWAY_OVERLOADED'
  | 'ERR_GATEWAY_RATE_LIMITED'
  | 'ERR_GATEWAY_REQUEST_TIMEOUT'
  | 'ERR_GATEWAY_UPSTREAM_FAILED'
  | 'ERR_GATEWAY_UPSTREAM_TIMEOUT'
  | 'ERR_GATEWAY_UPSTREAM_UNREACHABLE'

/** The kind of each reason. What status it has over HTTP is said in `options/statuses.ts`. */
export const kinds: Readonly<Record<GatewayErrorCode, ErrorKind>> = Object.freeze({
  ERR_GATEWAY_BAD_REQUEST: 'invalid-input',
  ERR_GATEWAY_BODY_TOO_LARGE: 'too-large',
  ERR_GATEWAY_HEADERS_TOO_LARGE: 'too-large',
  ERR_GATEWAY_INTERNAL: 'internal',
  ERR_GATEWAY_LISTEN_FAILED: 'unavailable',
  ERR_GATEWAY_MAINTENANCE: 'unavailable',
  ERR_GATEWAY_NOT_IMPLEMENTED: 'unsupported',
  ERR_GATEWAY_NO_ROUTE: 'not-found',
  ERR_GATEWAY_NO_UPSTREAM: 'unavailable',
  ERR_GATEWAY_OVERLOADED: 'unavailable',
  ERR_GATEWAY_RATE_LIMITED: 'rate-limited',
  ERR_GATEWAY_REQUEST_TIMEOUT: 'timeout',
  ERR_GATEWAY_UPSTREAM_FAILED: 'unavailable',
  ERR_GATEWAY_UPSTREAM_TIMEOUT: 'timeout',
  ERR_GATEWAY_UPSTREAM_UNREACHABLE: 'unavailable',
})

/** A {@link QuintetError} of this package. */
export class GatewayError extends QuintetError<GatewayErrorCode> {
  constructor(
    code: GatewayErrorCode,
    message: string,
    options: { readonly retryAfter?: number; readonly cause?: unknown } = {},
  ) {
    super(message, { code, kind: kinds[code], ...options })
  }
}
