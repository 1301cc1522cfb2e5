/** The levels from the most talkative to none at all. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

export type LogLevel = (typeof logLevels)[number]

/** The part of a logger that Quintet needs; pino's fits. */
export interface Logger {
  trace(fields: object, message?: string): void
  debug(fields: object, message?: string): void
  info(fields: object, message?: string): void
  warn(fields: object, message?: string): void
  error(fields: object, message?: string): void
  fatal(fields: object, message?: string): void
  child(fields: Record<string, unknown>): Logger
}

/** A logger that drops everything. */
export const silentLogger: Logger = Object.freeze({
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
  fatal() {},
  child: () => silentLogger,
})
