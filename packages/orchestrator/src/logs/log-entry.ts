/**
 * One line of output as it is kept: a JSON object with at least `time`. What an app writes as JSON stays as it
 * is; any other line becomes one with the line as `msg`.
 */
export function toLogLine(line: string, stream: 'stdout' | 'stderr', now: number): string {
  if (line.startsWith('{') && line.endsWith('}') && line.includes('"time":')) return line
  const level = stream === 'stderr' ? 'error' : 'info'
  return JSON.stringify({ level, time: new Date(now).toISOString(), stream, msg: line })
}

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
