import { describe, expect, it } from 'vitest'
import { createLineFilter, type LineFilterOptions } from '../../src/logs/line-filter.ts'

const lines = {
  debug: '{"level":"debug","time":"2026-01-01T00:00:01.000Z","msg":"asked"}',
  info: '{"level":"info","time":"2026-01-01T00:00:02.000Z","msg":"says \\"hello\\""}',
  pino: `{"level":50,"time":${Date.parse('2026-01-01T00:00:03.000Z')},"msg":"failed","code":"E1"}`,
  plain: 'no JSON at all',
}
const at = (second: number): number => Date.parse(`2026-01-01T00:00:0${second}.000Z`)

const kept = (options: LineFilterOptions): string[] => {
  const isWanted = createLineFilter(options)
  return Object.entries(lines).flatMap(([name, line]) => (isWanted(line) ? [name] : []))
}

describe('createLineFilter', () => {
  it.each<[string, LineFilterOptions, readonly string[]]>([
    ['everything', {}, ['debug', 'info', 'pino', 'plain']],
    ['what is not older', { since: at(2) }, ['info', 'pino', 'plain']],
    ['what is older', { until: at(3) }, ['debug', 'info', 'plain']],
    ['what is in between', { since: at(2), until: at(3) }, ['info', 'plain']],
    ['a level and those above', { level: 'info' }, ['info', 'pino', 'plain']],
    ['levels written as numbers', { level: 'error' }, ['pino', 'plain']],
    ['the lowest level', { level: 'trace' }, ['debug', 'info', 'pino', 'plain']],
    ['what the message has in it', { grep: /says "hello"/ }, ['info']],
    ['what a field has in it', { grep: /E\d/ }, ['pino']],
    ['what has all of it', { grep: /e/, level: 'warn', since: at(3) }, ['pino']],
  ])('keeps %s', (_what, options, expected) => {
    expect(kept(options)).toEqual(expected)
  })
})
