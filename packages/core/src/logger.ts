import { createRequire } from 'node:module'
import type { DestinationStream, LoggerOptions as PinoOptions, pino as Pino } from 'pino'

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

/** Field names whose values never reach a log line, wherever they stand in the first two levels. */
const redactedFields = [
  'authorization',
  'cookie',
  'password',
  'secret',
  'token',
  'accessToken',
  'refreshToken',
  'set-cookie',
]

/** A JSON logger (pino) with ISO timestamps, level names, and secrets redacted. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const settings: PinoOptions = {
    level: options.level ?? 'info',
    base: options.fields ?? {},
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: redactedFields.flatMap((field) => [`["${field}"]`, `*["${field}"]`, `*.*["${field}"]`]),
      censor: '[redacted]',
    },
  }
  // Loaded here, because it takes as long to load as the rest of this package, and many who import it bring a logger.
  const pino: typeof Pino = createRequire(import.meta.url)('pino')
  return options.destination ? pino(settings, options.destination) : pino(settings)
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
