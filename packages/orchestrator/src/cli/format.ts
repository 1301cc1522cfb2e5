import { stripVTControlCharacters, styleText } from 'node:util'
import type { EcosystemEvent } from '../supervisor/events.ts'
import type { EcosystemStatus, ProcessStatus } from '../ecosystem-status.ts'

/** Rows as columns that are as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows)
    row.forEach((cell, index) => (widths[index] = Math.max(widths[index] ?? 0, width(cell))))
  return rows
    .map((row) =>
      row
        .map((cell, index) => cell + ' '.repeat((widths[index] ?? 0) - width(cell)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function width(cell: string): number {
  return stripVTControlCharacters(cell).length
}

export function formatDuration(ms: number): string {
  const seconds = Math.floor(ms / 1_000)
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`
  if (seconds < 86_400)
    return `${Math.floor(seconds / 3_600)}h${String(Math.floor(seconds / 60) % 60).padStart(2, '0')}m`
  return `${Math.floor(seconds / 86_400)}d${Math.floor(seconds / 3_600) % 24}h`
}

export function formatBytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(bytes < 10 * 1024 * 1024 ? 1 : 0)} MB`
}

type Color = 'green' | 'yellow' | 'red' | 'gray' | 'cyan'

const phaseColors: Readonly<Record<string, Color>> = {
  ready: 'green',
  completed: 'green',
  unhealthy: 'red',
  failed: 'red',
  backoff: 'red',
  stopped: 'gray',
}

export function paint(color: Color, text: string): string {
  return styleText(color, text)
}

export function formatStatus(status: EcosystemStatus, now: number): string {
  const header = ['PROCESS', 'STATE', 'PID', 'UPTIME', 'RESTARTS', 'CPU', 'MEMORY', 'URL']
  const rows = status.processes.map((each) => [
    each.id,
    paint(phaseColors[each.phase] ?? 'yellow', each.phase),
    each.pid === null ? '-' : String(each.pid),
    each.startedAt === null ? '-' : formatDuration(now - each.startedAt),
    String(each.restarts),
    each.usage ? `${each.usage.cpu.toFixed(1)}%` : '-',
    each.usage ? formatBytes(each.usage.pss) : '-',
    Object.values(each.urls).join(' ') || remark(each),
  ])
  const servers = status.servers.map((each) => [
    each.name,
    paint('green', each.source === 'external' ? 'external' : 'ready'),
    each.pid === null ? '-' : String(each.pid),
    formatDuration(now - status.startedAt),
    String(each.restarts),
    each.usage ? `${each.usage.cpu.toFixed(1)}%` : '-',
    each.usage ? formatBytes(each.usage.pss) : '-',
    `127.0.0.1:${each.port}`,
  ])
  const summary = `${status.project}: supervisor pid ${status.pid}, up ${formatDuration(now - status.startedAt)}, ${formatBytes(status.memory.pss)} in all (PSS)`
  return `${table([header, ...rows, ...servers])}\n\n${summary}`
}

function remark(each: ProcessStatus): string {
  if (each.phase === 'waiting' && each.waitingFor.length > 0) return `waits for ${each.waitingFor.join(', ')}`
  if (each.phase === 'backoff' || each.phase === 'failed') return firstLine(each.lastFailure ?? '')
  return ''
}

function firstLine(text: string): string {
  return text.split('\n')[0]?.slice(0, 100) ?? ''
}

/** An event as one line, or undefined when nobody watching needs it. */
export function formatEvent(event: EcosystemEvent): string | undefined {
  switch (event.type) {
    case 'progress':
      return event.message
    case 'server':
      return `${event.name} ${event.state}: ${event.reason}`
    case 'escalated':
      return paint(
        'red',
        event.level === 'app'
          ? `${event.id} failed, and its app with it: ${event.reason}`
          : `${event.id} failed, and everything hangs on it: stopping. ${event.reason}`,
      )
    case 'process': {
      if (event.to === 'waiting' || event.to === 'probing') return undefined
      const delay = event.delay === undefined ? '' : `, again in ${event.delay} ms`
      const reason =
        event.to === 'backoff' || event.to === 'failed' || event.to === 'unhealthy'
          ? `: ${event.reason}${delay}`
          : ''
      return `${event.id} ${paint(phaseColors[event.to] ?? 'cyan', event.to)}${reason}`
    }
  }
}

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
