import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ecosystemDefaults } from '../src/ecosystem.ts'
import { healthCheckDefaults, pipelineDefaults, procedureDefaults, systemDefaults } from '../src/kit.ts'
import { settingsDefaults } from '../src/settings.ts'

/** What the doc comments of a file say about defaults, as `Interface.member`. */
function documented(file: string): Readonly<Record<string, string>> {
  const source = readFileSync(new URL(`../src/${file}`, import.meta.url), 'utf8')
  const found: Record<string, string> = {}
  let path: string[] = []
  let pending: string | undefined
  for (const line of source.split('\n')) {
    const opened = /^export interface (\w+)/.exec(line)?.[1]
    if (opened !== undefined) path = [opened]
    pending = /@defaultValue (.+?)(?: \*\/)?$/.exec(line)?.[1]?.replaceAll('`', '') ?? pending
    const [, indent = '', member] = /^( {2,4})readonly (\w+)\??:/.exec(line) ?? []
    if (member === undefined) continue
    path = [...path.slice(0, indent.length / 2), member]
    if (pending !== undefined) found[path.join('.')] = pending
    pending = undefined
  }
  return found
}

function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`
  return typeof value === 'number' ? value.toLocaleString('en').replaceAll(',', ' ') : String(value)
}

function expected(name: string, values: Readonly<Record<string, unknown>>): Record<string, string> {
  const plain = Object.entries(values).filter(([, value]) => typeof value !== 'object')
  return Object.fromEntries(plain.map(([key, value]) => [`${name}.${key}`, shown(value)]))
}

describe('@defaultValue', () => {
  const { supervision, monitoring, logging } = ecosystemDefaults
  it.each([
    ['definition/system.ts', expected('ProcessEntry', systemDefaults.process)],
    ['definition/system.ts', expected('ProbeOptions', systemDefaults.health)],
    ['definition/system.ts', expected('ShutdownOptions', systemDefaults.shutdown)],
    ['definition/system.ts', expected('DevOptions', systemDefaults.dev)],
    ['ecosystem/ecosystem.ts', expected('SupervisionOptions', supervision)],
    ['ecosystem/ecosystem.ts', expected('BackoffOptions', supervision.backoff)],
    ['ecosystem/ecosystem.ts', expected('MonitoringOptions.healthCheck', monitoring.healthCheck)],
    ['ecosystem/ecosystem.ts', expected('MonitoringOptions.metrics', monitoring.metrics)],
    ['ecosystem/ecosystem.ts', expected('LoggingOptions', logging)],
    ['settings/options.ts', expected('SettingsOptions', settingsDefaults)],
    ['pipeline/pipeline.ts', expected('PipelineOptions', pipelineDefaults)],
    ['procedures/procedure.ts', { 'ProcedureOptions.maxInputSize': shown(procedureDefaults.maxInputSize) }],
    [
      'procedures/procedure.ts',
      { 'ProcedureOptions.timeout': `${shown(procedureDefaults.timeout)} for calls, none for streams` },
    ],
    [
      'lifecycle/health-checks.ts',
      {
        'HealthCheck.critical': shown(healthCheckDefaults.critical),
        'HealthCheck.timeout': String(healthCheckDefaults.timeout),
      },
    ],
  ])('of %s says what the code does: %j', (file, values) => {
    expect(documented(file)).toMatchObject(values)
  })
})
