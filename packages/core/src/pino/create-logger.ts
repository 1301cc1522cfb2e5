import { pino, type LoggerOptions as PinoOptions } from 'pino'
import type { Logger } from '../logging/logger.ts'
import { redactFields } from '../logging/redact-fields.ts'
import { readOptions } from '../options/read-options.ts'
import { loggerSpec, type LoggerOptions } from './logger-spec.ts'

/** A JSON logger (pino) with ISO timestamps, level names, and secrets redacted. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const { level, fields, redact, mixin, transport, destination } = readOptions(options, loggerSpec, 'logger')
  // pino refuses to write level names where several transports sort lines by their number.
  const sortsByLevel = transport !== undefined && 'targets' in transport
  const settings: PinoOptions = {
    level,
    base: redactFields(fields) as Record<string, unknown>,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: {
      ...(sortsByLevel ? {} : { level: (label: string) => ({ level: label }) }),
      log: (logged) => redactFields(logged) as Record<string, unknown>,
    },
    serializers: { err: (error: Error) => redactFields(pino.stdSerializers.err(error)) },
    ...(redact.length === 0 ? {} : { redact: { paths: [...redact], censor: '[redacted]' } }),
    ...(mixin === undefined ? {} : { mixin }),
    ...(transport === undefined ? {} : { transport }),
  }
  const logger = destination ? pino(settings, destination) : pino(settings)
  // pino hands the fields of a child to no formatter. Its children inherit this.
  const { child } = logger
  logger.child = function (this: typeof logger, fields: object) {
    return child.call(this, redactFields(fields))
  } as typeof child
  return logger
}
