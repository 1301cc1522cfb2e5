/**
 * One line of output as it is kept: a JSON object with at least `time`. What an app writes as JSON stays as it
 * is; any other line becomes one with the line as `msg`.
 */
export function toLogLine(line: string, stream: 'stdout' | 'stderr', now: number): string {
  if (line.startsWith('{') && line.endsWith('}') && line.includes('"time":')) return line
  const level = stream === 'stderr' ? 'error' : 'info'
  return JSON.stringify({ level, time: new Date(now).toISOString(), stream, msg: line })
}
