/** What marks a line as one of a logger. */
const timeKey = '"time":'

/**
 * Lines of output as they are kept: each a JSON object with at least `time`. What an app writes as JSON stays as it is; any
 * other line becomes one with the line as `msg`.
 *
 * Lines that stay are not taken apart: a flood costs little more than it takes to find their ends.
 *
 * @param lines each with its newline.
 */
export function toLogLines(lines: string, stream: 'stdout' | 'stderr', now: number): string {
  const level = stream === 'stderr' ? 'error' : 'info'
  const head = `{"level":"${level}","time":"${new Date(now).toISOString()}","stream":"${stream}","msg":`
  let converted = ''
  /** Where the lines begin that stay as they are. */
  let kept = 0
  let time = lines.indexOf(timeKey)
  for (let start = 0, end = 0; start < lines.length; start = end + 1) {
    end = lines.indexOf('\n', start)
    if (time !== -1 && time < start) time = lines.indexOf(timeKey, start)
    const isJson = lines.charCodeAt(start) === openingBrace && lines.charCodeAt(end - 1) === closingBrace
    if (isJson && time !== -1 && time < end) continue
    const line = lines.slice(start, lines.charCodeAt(end - 1) === carriageReturn ? end - 1 : end)
    converted += `${lines.slice(kept, start)}${head}${JSON.stringify(line)}}\n`
    kept = end + 1
  }
  return kept === 0 ? lines : converted + lines.slice(kept)
}

const openingBrace = 0x7b
const closingBrace = 0x7d
const carriageReturn = 0x0d

/** Stands where a reader that did not keep up has lost lines. */
export function droppedLine(count: number): string {
  const msg = `${count} lines were dropped: the reader did not keep up. The log files have them.`
  return JSON.stringify({ level: 'warn', time: new Date().toISOString(), stream: 'supervisor', msg })
}

/** Stands in a log file where lines are missing that could not be written, e.g. because the disk was full. */
export function lostLine(count: number): string {
  const msg = `${count} lines were lost here: they could not be written. Is the disk full?`
  return JSON.stringify({ level: 'warn', time: new Date().toISOString(), stream: 'supervisor', msg })
}

/** A kept line as JSON: what looks like JSON and is none becomes the message of an object. */
export function toJsonLine(line: string): string {
  try {
    JSON.parse(line)
    return line
  } catch {
    return JSON.stringify({ msg: line })
  }
}

/** Levels as pino writes them unless it is told otherwise. */
const pinoLevels: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
}

/** A kept line as an object; undefined when it is none. */
export function parseLine(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** The name of a level, as the loggers write it: a text, or a number of pino's. */
export function levelName(level: unknown): string | undefined {
  if (typeof level === 'number') return pinoLevels[level] ?? String(level)
  return typeof level === 'string' ? level : undefined
}

/** The name of the level of a kept line, where it has one. */
export function levelOf(line: string): string | undefined {
  return levelName(parseLine(line)?.['level'])
}

/** What a kept line says; the line itself when it is no object or says nothing. */
export function messageOf(line: string): string {
  const msg = parseLine(line)?.['msg']
  return typeof msg === 'string' ? msg : line
}

/** The time of a kept line in milliseconds since the epoch: loggers write it as text or, as pino by default, as a number. */
export function timeOfLine(line: string): number | undefined {
  const [, text, milliseconds] = /"time":(?:"([^"]+)"|(\d+))/.exec(line) ?? []
  const time = text === undefined ? Number(milliseconds) : Date.parse(text)
  return Number.isNaN(time) ? undefined : time
}
