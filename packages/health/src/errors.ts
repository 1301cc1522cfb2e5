import { type ErrorKind, QuintetError } from '@quintet/core'

/** The codes of the errors that this package throws. */
export type HealthErrorCode = 'ERR_HEALTH_SHUTDOWN_FAILED'

const kinds: Readonly<Record<HealthErrorCode, ErrorKind>> = { ERR_HEALTH_SHUTDOWN_FAILED: 'internal' }

/** What this package throws. The kind follows from the code. */
export class HealthError extends QuintetError<HealthErrorCode> {
  constructor(
    code: HealthErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly steps: readonly string[] },
  ) {
    super(message, { code, kind: kinds[code], cause: options.cause, details: { steps: options.steps } })
  }
}
