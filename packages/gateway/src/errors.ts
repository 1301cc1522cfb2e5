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

interface Reason {
  readonly kind: ErrorKind
  readonly status: number
  readonly title: string
}

/** How each reason is told: its kind, its status and its title. */
export const reasons: Readonly<Record<GatewayErrorCode, Reason>> = Object.freeze({
  ERR_GATEWAY_BAD_REQUEST: { kind: 'invalid-input', status: 400, title: 'Bad Request' },
  ERR_GATEWAY_BODY_TOO_LARGE: { kind: 'too-large', status: 413, title: 'Content Too Large' },
  ERR_GATEWAY_HEADERS_TOO_LARGE: { kind: 'too-large', status: 431, title: 'Request Header Fields Too Large' },
  ERR_GATEWAY_INTERNAL: { kind: 'internal', status: 500, title: 'Internal Server Error' },
  ERR_GATEWAY_LISTEN_FAILED: { kind: 'unavailable', status: 500, title: 'Internal Server Error' },
  ERR_GATEWAY_MAINTENANCE: { kind: 'unavailable', status: 503, title: 'Service Unavailable' },
  ERR_GATEWAY_NOT_IMPLEMENTED: { kind: 'unsupported', status: 501, title: 'Not Implemented' },
  ERR_GATEWAY_NO_ROUTE: { kind: 'not-found', status: 404, title: 'Not Found' },
  ERR_GATEWAY_NO_UPSTREAM: { kind: 'unavailable', status: 503, title: 'Service Unavailable' },
  ERR_GATEWAY_OVERLOADED: { kind: 'unavailable', status: 503, title: 'Service Unavailable' },
  ERR_GATEWAY_RATE_LIMITED: { kind: 'rate-limited', status: 429, title: 'Too Many Requests' },
  ERR_GATEWAY_REQUEST_TIMEOUT: { kind: 'timeout', status: 408, title: 'Request Timeout' },
  ERR_GATEWAY_UPSTREAM_FAILED: { kind: 'unavailable', status: 502, title: 'Bad Gateway' },
  ERR_GATEWAY_UPSTREAM_TIMEOUT: { kind: 'timeout', status: 504, title: 'Gateway Timeout' },
  ERR_GATEWAY_UPSTREAM_UNREACHABLE: { kind: 'unavailable', status: 502, title: 'Bad Gateway' },
})

/** A {@link QuintetError} of this package. Where the gateway answers with it, {@link reasons} has the status. */
export class GatewayError extends QuintetError<GatewayErrorCode> {
  constructor(
    code: GatewayErrorCode,
    message: string,
    options: { readonly retryAfter?: number; readonly cause?: unknown } = {},
  ) {
    super(message, { code, kind: reasons[code].kind, ...options })
  }

  get status(): number {
    return reasons[this.code].status
  }
}

/** What an error of an upstream connection means to the client: unreachable, too slow, or broken. */
export function fromUpstreamError(error: Error & { readonly code?: string }): GatewayError {
  switch (error.code) {
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return new GatewayError('ERR_GATEWAY_UPSTREAM_TIMEOUT', 'The service could not be reached in time.', {
        cause: error,
      })
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return new GatewayError('ERR_GATEWAY_UPSTREAM_TIMEOUT', 'The service did not answer in time.', {
        cause: error,
      })
    case 'ECONNREFUSED':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new GatewayError('ERR_GATEWAY_UPSTREAM_UNREACHABLE', 'The service cannot be reached.', {
        cause: error,
      })
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOBUFS':
    case 'ENOMEM':
    case 'EADDRNOTAVAIL':
      // This process or machine is short of something, not the upstream.
      return new GatewayError('ERR_GATEWAY_OVERLOADED', 'There are too many connections.', {
        retryAfter: 1_000,
        cause: error,
      })
    case 'UND_ERR_INVALID_ARG':
    case 'UND_ERR_NOT_SUPPORTED':
      return new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The request cannot be forwarded.', { cause: error })
    default:
      return new GatewayError(
        'ERR_GATEWAY_UPSTREAM_FAILED',
        'The service closed the connection or gave an answer that is not HTTP.',
        {
          cause: error,
        },
      )
  }
}
