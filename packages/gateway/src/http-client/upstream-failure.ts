/**
 * Gave an answer of HTTP that is not valid, closed the connection, did not accept in time, does not speak HTTP, or was
 * silent.
 */
export type UpstreamFailureCode = 'BAD_ANSWER' | 'CLOSED' | 'CONNECT_TIMEOUT' | 'NOT_HTTP' | 'SILENT'

/**
 * How far a request had come when its connection was lost: to a connection that never stood, so that nothing was sent; to
 * one that had waited since its last answer and gave none to this request, which says nothing about the upstream; or to
 * the upstream.
 */
export type FailedAt = 'connecting' | 'stale' | 'asked'

/** The failure of an exchange with an upstream where the operating system has no error of its own for it. */
export class UpstreamFailure extends Error {
  readonly code: UpstreamFailureCode

  constructor(code: UpstreamFailureCode, message: string) {
    super(message)
    this.name = 'UpstreamFailure'
    this.code = code
  }
}

/** An upstream that speaks HTTP, and has given an answer that is not valid or too large. */
export function badAnswer(why: string): UpstreamFailure {
  return new UpstreamFailure('BAD_ANSWER', `The answer is not valid HTTP/1.1: ${why}.`)
}
