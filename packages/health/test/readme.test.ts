import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import * as api from '../src/index.ts'
import { HealthError, type HealthErrorCode } from '../src/index.ts'

const root = new URL('../', import.meta.url)
const readme = await readFile(new URL('README.md', root), 'utf8')

/** Every code once: the compiler holds the keys against the union. */
const codes: Record<HealthErrorCode, true> = { ERR_HEALTH_SHUTDOWN_FAILED: true }

describe('README', () => {
  it('lists every error code with its kind, and no other', () => {
    const rows = [...readme.matchAll(/^\| `(ERR_\w+)` +\| ([\w-]+) +\|/gm)].map(([, code, kind]) => [
      code,
      kind,
    ])
    const expected = (Object.keys(codes) as HealthErrorCode[]).map((code) => [
      code,
      new HealthError(code, '', { steps: [] }).kind,
    ])
    expect(rows).toEqual(expected)
  })

  it('states the defaults that the code has', () => {
    const rows = new Map(
      [...readme.matchAll(/^\| `(\w+\.\w+)` +\| `([^`]+)` +\|/gm)].map(([, name, value]) => [name, value]),
    )
    const { maxSeries } = api.metricsDefaults
    const defaults = {
      probes: api.probeDefaults,
      operators: api.operatorDefaults,
      createMetrics: { maxSeries },
      gracefulShutdown: api.shutdownDefaults,
    }
    const expected = Object.entries(defaults).flatMap(([factory, values]) =>
      Object.entries(values).map(([name, value]) => [`${factory}.${name}`, show(value)] as const),
    )
    expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(expected))
  })
})

function show(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`
  return typeof value === 'string' ? `'${value}'` : String(value)
}
