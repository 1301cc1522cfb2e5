import { levelName, parseLine } from '../logs/log-entry.ts'
import { paint, type Color } from './paint.ts'

const shownElsewhere = new Set(['level', 'time', 'msg', 'system', 'process', 'instance', 'stream'])

/** A kept line for reading: time, level, message, and the fields that are left. */
export function formatLogLine(id: string | undefined, line: string): string {
  const prefix = id === undefined ? '' : `${paint('cyan', id)} `
  const entry = parseLine(line)
  if (entry === undefined) return prefix + escapeControls(line)
  const rest = Object.fromEntries(Object.entries(entry).filter(([key]) => !shownElsewhere.has(key)))
  const fields =
    Object.keys(rest).length === 0 ? '' : ` ${paint('gray', escapeControls(JSON.stringify(rest)))}`
  const level = escapeControls(levelName(entry['level']) ?? '')
  const color: Color = level === 'error' || level === 'fatal' ? 'red' : level === 'warn' ? 'yellow' : 'gray'
  const head = `${paint('gray', timeOf(entry['time']))} ${paint(color, level.padEnd(5))}`
  return `${prefix}${head} ${escapeMessage(entry['msg'])}${fields}`
}

/** The time of day, of an ISO text or of milliseconds since the epoch. */
function timeOf(time: unknown): string {
  const date = new Date(typeof time === 'number' || typeof time === 'string' ? time : Number.NaN)
  return Number.isNaN(date.getTime()) ? '' : date.toISOString().slice(11, 23)
}

/** Further lines of a message stand under the first one, so that none looks like a line of its own. */
function escapeMessage(msg: unknown): string {
  const text = typeof msg === 'string' ? msg : msg === undefined ? '' : JSON.stringify(msg)
  return text.split('\n').map(escapeControls).join('\n    | ')
}

/** What an app writes must not move the cursor, retitle the terminal or hide lines: control characters are shown. */
function escapeControls(text: string): string {
  return text.replaceAll(controls, (character) =>
    character === '\t' ? character : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const controls = /[\u0000-\u001f\u007f-\u009f]/g
