import { levelOf, messageOf, timeOfLine } from './log-entry.ts'

/** Which lines of a log are wanted. */
export interface LineFilterOptions {
  /** Not before, and before; milliseconds since the epoch. */
  readonly since?: number | undefined
  readonly until?: number | undefined
  /** What the message or the line has in it. */
  readonly grep?: RegExp | undefined
  /** This level and those above. */
  readonly level?: LogLevelName | undefined
}

/** From the most talkative to the gravest. */
export const levelNames = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

export type LogLevelName = (typeof levelNames)[number]

/** A line whose time or level is unknown is kept: what it says may be what is looked for. */
export function createLineFilter({
  since,
  until,
  grep,
  level,
}: LineFilterOptions): (line: string) => boolean {
  const lowest = level === undefined ? -1 : levelNames.indexOf(level)
  return (line) => {
    const time = timeOfLine(line)
    if (time !== undefined && since !== undefined && time < since) return false
    if (time !== undefined && until !== undefined && time >= until) return false
    const rank = lowest < 0 ? -1 : levelNames.findIndex((each) => each === levelOf(line))
    if (rank >= 0 && rank < lowest) return false
    return grep === undefined || grep.test(line) || grep.test(messageOf(line))
  }
}
