import { pino, type LoggerOptions as PinoOptions } from 'pino'
import type { Logger } from '../logging/logger.ts'
import { redactFields } from '../logging/redact-fields.ts'
import { readOptions } from '../options/read-options.ts'
import { standardOutput } from './standard-output.ts'
import { loggerSpec, type LoggerOptions } from './logger-spec.ts'

/** A JSON logger (pino) with ISO timestamps, level names, and secrets redacted. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const { level, fields, redact, mixin, transport, destination } = readOptions(options, loggerSpec, 'logger')
  // pino refuses to write level names where several transports sort lines by their number.
  const sortsByLevel = transport !== undefined && 'targets' in transport
  const settings: PinoOptions = {
    level,
    base: redactFields(fields) as Record<string, unknown>,
    timestamp: createTimestamp(),
    formatters: {
      ...(sortsByLevel ? {} : { level: (label: string) => ({ level: label }) }),
      log: (logged) => redactFields(logged) as Record<string, unknown>,
    },
    serializers: { err: (error: Error) => redactFields(pino.stdSerializers.err(error)) },
    ...(redact.length === 0 ? {} : { redact: { paths: [...redact], censor: '[redacted]' } }),
    ...(mixin === undefined ? {} : { mixin }),
    ...(transport === undefined ? {} : { transport }),
  }
  const stream = destination ?? (transport === undefined ? standardOutput() : undefined)
  const logger = stream ? pino(settings, stream) : pino(settings)
  // pino hands the fields of a child to no formatter. Its children inherit this.
  const { child } = logger
  logger.child = function (this: typeof logger, fields: object) {
    return child.call(this, redactFields(fields))
  } as typeof child
  return logger
}

/** The member `time` of each line, in ISO 8601. Most of its text stays the same for a second. */
function createTimestamp(): () => string {
  let second = -1
  let beginning = ''
  return () => {
    const now = Date.now()
    const current = Math.floor(now / 1_000)
    if (current !== second) {
      second = current
      beginning = `,"time":"${new Date(now).toISOString().slice(0, -4)}`
    }
    return `${beginning}${String(now - current * 1_000).padStart(3, '0')}Z"`
  }
}
