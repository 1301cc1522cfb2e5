import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { formatLogLine } from '../../src/terminal/format-log-line.ts'
import { toJsonLine } from '../../src/logs/log-entry.ts'

describe('formatLogLine', () => {
  it('shows control characters and sends none to the terminal', () => {
    const msg = 'a\u001b]0;title\u0007b\u001b[2Jc\rd\u009b1me'
    for (const line of [JSON.stringify({ time: '2026-01-01T00:00:00.000Z', msg }), msg]) {
      const shown = stripVTControlCharacters(formatLogLine(undefined, line))
      expect(shown).toContain('a\\x1b]0;title\\x07b\\x1b[2Jc\\x0dd\\x9b1me')
    }
  })
})

describe('toJsonLine', () => {
  it('is JSON, whatever an app has written', () => {
    for (const line of ['{"time":"x","msg":"fine"}', '{"time": not JSON}', '', '{"time":1}{'])
      expect(() => JSON.parse(toJsonLine(line))).not.toThrow()
    expect(toJsonLine('{"time":"x"}')).toBe('{"time":"x"}')
  })
})
