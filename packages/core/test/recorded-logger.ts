import type { Logger, LogLevel } from '../src/index.ts'

export interface LogLine {
  readonly level: LogLevel
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** A logger that keeps its lines. */
export function recordedLogger(
  lines: LogLine[] = [],
  bound: Record<string, unknown> = {},
): Logger & { readonly lines: LogLine[] } {
  const at =
    (level: LogLevel) =>
    (fields: object, message = ''): void =>
      void lines.push({ level, message, fields: { ...bound, ...fields } })
  return {
    lines,
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    child: (fields) => recordedLogger(lines, { ...bound, ...fields }),
  }
}
