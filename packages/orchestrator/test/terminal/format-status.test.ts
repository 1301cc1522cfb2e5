import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import type { EcosystemStatus, ProcessStatus } from '../../src/running/ecosystem-status.ts'
import { formatStatus } from '../../src/terminal/format-status.ts'

const process = {
  id: 'media/thumbnails-of-large-images/1',
  phase: 'running',
  pid: 123_456,
  startedAt: 0,
  restarts: 0,
  usage: { cpu: 12.5, pss: 100_000_000 },
  urls: { http: 'http://127.0.0.1:43210' },
} as unknown as ProcessStatus

const status = {
  project: 'trio',
  pid: 1,
  startedAt: 0,
  memory: { pss: 1 },
  processes: [process],
  servers: [{ name: 'postgres', source: 'own', pid: 2, restarts: 0, port: 5432 }],
} as unknown as EcosystemStatus

const lines = (width?: number): string[] =>
  stripVTControlCharacters(formatStatus(status, 3_600_000, width))
    .split('\n')
    .slice(0, 3)

describe('the status', () => {
  it('has every column where nobody says how wide the terminal is', () => {
    expect(lines()[0]?.split(/ +/)).toEqual([
      'PROCESS',
      'STATE',
      'PID',
      'UPTIME',
      'RESTARTS',
      'CPU',
      'MEMORY',
      'URL',
    ])
    expect(lines()[1]).toContain('http://127.0.0.1:43210')
  })

  it('says which holders were killed', () => {
    const lost = { ...status, processes: [{ ...process, holder: 'lost' as const }] }
    expect(formatStatus(lost, 0)).toContain(
      'The holder of media/thumbnails-of-large-images/1 was killed; it goes on',
    )
    expect(formatStatus(status, 0)).not.toContain('holder')
  })

  it.each([100, 80, 60])('fits into %i columns', (width) => {
    for (const line of lines(width)) expect(line.length).toBeLessThanOrEqual(width)
    expect(lines(width)[1]).toContain('media/thumbnails-of-large-images/1  running')
  })

  it('shortens addresses of this host before it leaves a column out', () => {
    expect(lines(100)[0]).toContain('PID')
    expect(lines(100)[1]).toContain(' :43210')
  })
})
