import type { EcosystemStatus, ProcessStatus } from '../running/ecosystem-status.ts'
import { paint } from './paint.ts'
import { phaseColors } from './phase-colors.ts'
import { table, tableWidth } from './table.ts'
import { formatBytes, formatDuration } from './units.ts'

/**
 * The status of an ecosystem as a table with a summary.
 *
 * @param width how many columns the terminal has; what matters least is left out until the table fits.
 */
export function formatStatus(status: EcosystemStatus, now: number, width = Number.POSITIVE_INFINITY): string {
  const columns = ['PROCESS', 'STATE', 'PID', 'UPTIME', 'RESTARTS', 'CPU', 'MEMORY', 'URL'] as const
  const processes = status.processes.map((each) => [
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
  const lost = status.processes.filter(({ holder }) => holder === 'lost').map(({ id }) => id)
  const attention =
    lost.length === 0
      ? ''
      : `\nThe holder of ${lost.join(', ')} was killed; it goes on, and a restart makes it a new one.`
  return `${fitted([[...columns], ...processes, ...servers], width)}\n\n${summary}${attention}`
}

/** The steps by which a table of processes gets narrower. */
const narrower: readonly ((rows: readonly (readonly string[])[]) => readonly (readonly string[])[])[] = [
  (rows) => rows.map((row) => row.map((cell) => cell.replaceAll(/(?:http:\/\/)?127\.0\.0\.1:/g, ':'))),
  (rows) => without(rows, 'PID'),
  (rows) => without(rows, 'RESTARTS'),
  (rows) => without(rows, 'CPU'),
  (rows) => without(rows, 'URL'),
]

function fitted(rows: readonly (readonly string[])[], width: number): string {
  let fitting = rows
  for (const step of narrower) {
    if (tableWidth(fitting) <= width) break
    fitting = step(fitting)
  }
  return table(fitting)
}

function without(rows: readonly (readonly string[])[], column: string): readonly (readonly string[])[] {
  const at = rows[0]?.indexOf(column) ?? -1
  return rows.map((row) => row.filter((_cell, index) => index !== at))
}

function remark(each: ProcessStatus): string {
  if (each.phase === 'waiting' && each.waitingFor.length > 0) return `waits for ${each.waitingFor.join(', ')}`
  if (each.phase === 'backoff' || each.phase === 'failed') return firstLine(each.lastFailure ?? '')
  return ''
}

function firstLine(text: string): string {
  return text.split('\n')[0]?.slice(0, 100) ?? ''
}
