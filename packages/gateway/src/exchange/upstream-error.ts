import { GatewayError } from '../errors.ts'
import type { FailedAt } from '../http-client/upstream-failure.ts'

/** What an error of an upstream connection means to the client: unreachable, too slow, or broken. */
export function fromUpstreamError(error: NodeJS.ErrnoException, at: FailedAt): GatewayError {
  switch (error.code) {
    case 'CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return new GatewayError('ERR_GATEWAY_UPSTREAM_TIMEOUT', 'The service could not be reached in time.', {
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
  }
  // Refused, without an address, or without a certificate that is known.
  if (at === 'connecting')
    return new GatewayError('ERR_GATEWAY_UPSTREAM_UNREACHABLE', 'The service cannot be reached.', {
      cause: error,
    })
  const message =
    error.code === 'BAD_ANSWER' || error.code === 'NOT_HTTP'
      ? 'The service gave an answer that is not valid HTTP.'
      : 'The service closed the connection.'
  return new GatewayError('ERR_GATEWAY_UPSTREAM_FAILED', message, { cause: error })
}
