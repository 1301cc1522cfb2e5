import type { Logger } from '@quintet/core'

type Level = 'debug' | 'info' | 'warn' | 'error'

/** A logger that keeps what it is told at these levels, one line each. */
export function collectingLogger(lines: string[], levels: readonly Level[] = ['warn', 'error']): Logger {
  const at = (level: Level) => (fields: object, message?: string) => {
    if (levels.includes(level)) lines.push(`${level} ${message} ${JSON.stringify(fields)}`)
  }
  const logger: Logger = {
    trace: at('debug'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('error'),
    child: () => logger,
  }
  return logger
}
