import { createLogger } from '../pino/create-logger.ts'
import type { Logger, LogLevel } from '../logging/logger.ts'
import type { System } from '../definition/system.ts'

export interface SystemLoggerOptions {
  /** Wins over the level that the system declares. */
  readonly level?: LogLevel | undefined
  /** Fields of every line, e.g. the process and its instance. */
  readonly fields: Record<string, unknown>
}

/** Makes the logger of one process as its system declares it: a child of the system's own logger, or one of pino. */
export function createSystemLogger(
  system: Pick<System, 'logger'>,
  { level, fields }: SystemLoggerOptions,
): Logger {
  const { logger } = system
  if (logger !== undefined && isLogger(logger)) return logger.child(fields)
  return createLogger({
    ...logger,
    fields: { ...logger?.fields, ...fields },
    ...(level === undefined ? {} : { level }),
  })
}

function isLogger(value: object): value is Logger {
  return 'child' in value
}
