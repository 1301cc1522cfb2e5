import type { Labels } from './metrics.ts'

/** A series as a Prometheus line names it: `name{label="value"}`. */
export function describeSeries(name: string, labels: Labels): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${escapeLabel(value)}"`)
  return pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`
}

export function formatValue(value: number): string {
  if (value === Infinity) return '+Inf'
  if (value === -Infinity) return '-Inf'
  return String(value)
}

/**
 * Leaves out of a text in the exposition format the families that are written already, because Prometheus refuses a
 * scrape with a sample twice. Adds the names of the others to `written`.
 */
export function leaveOutFamilies(text: string, written: Set<string>): string {
  let family = ''
  let isTaken = false
  const keep = (line: string): boolean => {
    const next = /^# (?:HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*)/.exec(line)?.[1]
    if (next !== undefined && next !== family) {
      family = next
      isTaken = written.has(next)
      written.add(next)
    }
    return !isTaken
  }
  return text.split('\n').filter(keep).join('\n')
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
