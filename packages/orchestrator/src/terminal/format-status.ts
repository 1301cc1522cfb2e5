import type { EcosystemStatus, ProcessStatus } from '../running/ecosystem-status.ts'
import { paint } from './paint.ts'
import { phaseColors } from './phase-colors.ts'
import { table } from './table.ts'
import { formatBytes, formatDuration } from './units.ts'

/** The status of an ecosystem as a table with a summary. */
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
