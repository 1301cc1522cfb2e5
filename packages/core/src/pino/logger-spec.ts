import type { DestinationStream, LoggerOptions as PinoOptions } from 'pino'
import { logLevels, type LogLevel } from '../logging/logger.ts'
import { option } from '../options/options.ts'

export interface LoggerOptions {
  /** @defaultValue `'info'` */
  readonly level?: LogLevel
  /** Fields of every line, e.g. the system and process. */
  readonly fields?: Record<string, unknown>
  /** Paths of further fields to redact, as pino takes them, e.g. `'user.email'`. Fields named like secrets always are. @defaultValue [] */
  readonly redact?: readonly string[]
  /** Fields that are read anew for every line, e.g. the current trace. */
  readonly mixin?: () => object
  /** A transport of pino, which runs in a thread of its own, e.g. `{ target: 'pino/file' }`. @defaultValue none */
  readonly transport?: PinoOptions['transport']
  /** Where lines go. @defaultValue standard output, where a line below `warn` may wait for 10 ms */
  readonly destination?: DestinationStream
}

/** How {@link LoggerOptions} are read. */
export const loggerSpec = {
  level: option.oneOf(logLevels, 'info'),
  fields: option.record(option.parsed('anything', (given) => given)),
  redact: option.list(option.text()),
  mixin: option.function<() => object>().optional(),
  transport: option.collaborator<NonNullable<PinoOptions['transport']>>([], 'a transport of pino').optional(),
  destination: option.collaborator<DestinationStream>(['write'], 'a stream').optional(),
}
