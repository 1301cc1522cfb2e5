import { createRequire } from 'node:module'
import type { DestinationStream, LoggerOptions as PinoOptions, pino as Pino } from 'pino'
import { redactFields } from './redact-fields.ts'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

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

export interface LoggerOptions {
  /** @defaultValue `'info'` */
  readonly level?: LogLevel
  /** Fields of every line, e.g. the system and process. */
  readonly fields?: Record<string, unknown>
  /** Where lines go. @defaultValue standard output */
  readonly destination?: DestinationStream
}

/** A JSON logger (pino) with ISO timestamps, level names, and secrets redacted. */
export function createLogger(options: LoggerOptions = {}): Logger {
  // Loaded here, because it takes as long to load as the rest of this package, and many who import it bring a logger.
  const pino: typeof Pino = createRequire(import.meta.url)('pino')
  const settings: PinoOptions = {
    level: options.level ?? 'info',
    base: redactFields(options.fields ?? {}) as Record<string, unknown>,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: {
      level: (label) => ({ level: label }),
      log: (fields) => redactFields(fields) as Record<string, unknown>,
    },
    serializers: { err: (error: Error) => redactFields(pino.stdSerializers.err(error)) },
  }
  const logger = options.destination ? pino(settings, options.destination) : pino(settings)
  // pino hands the fields of a child to no formatter. Its children inherit this.
  const { child } = logger
  logger.child = function (this: typeof logger, fields: object) {
    return child.call(this, redactFields(fields))
  } as typeof child
  return logger
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
