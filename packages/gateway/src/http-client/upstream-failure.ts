/** Did not accept in time, closed the connection, was silent, or gave an answer that is not HTTP/1.1. */
export type UpstreamFailureCode = 'BAD_ANSWER' | 'CLOSED' | 'CONNECT_TIMEOUT' | 'SILENT'

/** The failure of an exchange with an upstream where the operating system has no error of its own for it. */
export class UpstreamFailure extends Error {
  readonly code: UpstreamFailureCode

  constructor(code: UpstreamFailureCode, message: string) {
    super(message)
    this.name = 'UpstreamFailure'
    this.code = code
  }
}

export function badAnswer(why: string): UpstreamFailure {
  return new UpstreamFailure('BAD_ANSWER', `The answer is not HTTP/1.1: ${why}.`)
}
