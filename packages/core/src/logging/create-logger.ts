import { pino, type DestinationStream, type LoggerOptions as PinoOptions } from 'pino'
import { redactFields } from './redact-fields.ts'
import type { LogLevel, Logger } from './logger.ts'

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
