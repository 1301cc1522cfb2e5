/** The codes of errors about servers that cannot be had, started or reached. */
export type InfrastructureErrorCode =
  | 'ERR_INFRASTRUCTURE_DATA_DIRECTORY'
  | 'ERR_INFRASTRUCTURE_NOT_AVAILABLE'
  | 'ERR_INFRASTRUCTURE_NOT_REACHABLE'
  | 'ERR_INFRASTRUCTURE_PORT_IN_USE'
  | 'ERR_INFRASTRUCTURE_START_FAILED'

/**
 * A server cannot be had, started or reached. The message says which, why and what to do.
 *
 * It carries the brand of core's `QuintetError` without importing it, so that starting a server loads
 * nothing but this folder.
 */
export class InfrastructureError extends Error {
  readonly code: InfrastructureErrorCode
  readonly kind = 'unavailable'

  constructor(
    message: string,
    options: { readonly code: InfrastructureErrorCode; readonly cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'InfrastructureError'
    this.code = options.code
    Object.defineProperty(this, Symbol.for('quintet.error'), { value: true })
  }
}
