import { paint, type Color } from './paint.ts'

const shownElsewhere = new Set(['level', 'time', 'msg', 'system', 'process', 'instance', 'stream'])

/** A kept line for reading: time, level, message, and the fields that are left. */
export function formatLogLine(id: string | undefined, line: string): string {
  const prefix = id === undefined ? '' : `${paint('cyan', id)} `
  let entry: Record<string, unknown>
  try {
    entry = JSON.parse(line) as Record<string, unknown>
  } catch {
    return prefix + escapeControls(line)
  }
  const { level, time, msg } = entry
  const rest = Object.fromEntries(Object.entries(entry).filter(([key]) => !shownElsewhere.has(key)))
  const fields = Object.keys(rest).length === 0 ? '' : ` ${paint('gray', JSON.stringify(rest))}`
  const shown = typeof level === 'string' ? level.padEnd(5) : ''
  const color: Color = level === 'error' || level === 'fatal' ? 'red' : level === 'warn' ? 'yellow' : 'gray'
  return `${prefix}${paint('gray', String(time).slice(11, 23))} ${paint(color, shown)} ${escapeControls(String(msg ?? ''))}${fields}`
}

/** What an app writes must not move the cursor, retitle the terminal or hide lines: control characters are shown. */
function escapeControls(text: string): string {
  return text.replaceAll(controls, (character) =>
    character === '\n' || character === '\t'
      ? character
      : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const controls = /[\u0000-\u001f\u007f-\u009f]/g
