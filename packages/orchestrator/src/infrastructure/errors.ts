import { QuintetError } from '@quintet/core/client'

/** The codes of errors about servers that cannot be had, started or reached. */
export type InfrastructureErrorCode =
  | 'ERR_INFRASTRUCTURE_DATA_DIRECTORY'
  | 'ERR_INFRASTRUCTURE_NOT_AVAILABLE'
  | 'ERR_INFRASTRUCTURE_NOT_REACHABLE'
  | 'ERR_INFRASTRUCTURE_PORT_IN_USE'
  | 'ERR_INFRASTRUCTURE_START_FAILED'

/** A server cannot be had, started or reached. The message says which, why and what to do. */
export class InfrastructureError extends QuintetError<InfrastructureErrorCode> {
  constructor(
    message: string,
    options: { readonly code: InfrastructureErrorCode; readonly cause?: unknown },
  ) {
    super(message, { ...options, kind: 'unavailable' })
  }
}
