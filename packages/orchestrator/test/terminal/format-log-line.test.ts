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

describe('a log line', () => {
  const shown = (entry: unknown): string =>
    stripVTControlCharacters(formatLogLine('one/http', JSON.stringify(entry)))

  it('shows control characters wherever an app puts them', () => {
    const evil = '\u001b[2J\u009b1m\r'
    const escaped = '\\x1b[2J\\x9b1m\\x0d'
    const time = '2026-01-01T00:00:00.000Z'
    expect(formatLogLine(undefined, JSON.stringify({ level: evil, time, msg: 'x' }))).toContain(escaped)
    const line = formatLogLine(
      undefined,
      JSON.stringify({ level: 'info', time: `2026-11-26T${evil}`, msg: 'x', more: '\u009b' }),
    )
    expect(line).not.toContain('\u001b[2J')
    expect(line).not.toContain('\u009b')
  })

  it('is one line with what belongs to it below: none is forged by a newline', () => {
    const time = '2026-01-01T00:00:00.000Z'
    expect(shown({ level: 'info', time, msg: 'a\none/http 05:00:00.000 error forged' }).split('\n')).toEqual([
      'one/http 00:00:00.000 info  a',
      '    | one/http 05:00:00.000 error forged',
    ])
    expect(shown({ level: 'in\nfo', time, msg: 'x' })).not.toContain('\n')
  })

  it('is understood in the form that pino has by default', () => {
    expect(shown({ level: 50, time: Date.parse('2026-01-01T05:06:07.089Z'), msg: 'broken' })).toBe(
      'one/http 05:06:07.089 error broken',
    )
  })

  it.each(['null', '1', '"x"'])('that is %s is shown as it is', (line) => {
    expect(formatLogLine(undefined, line)).toBe(line)
  })
})

describe('toJsonLine', () => {
  it('is JSON, whatever an app has written', () => {
    for (const line of ['{"time":"x","msg":"fine"}', '{"time": not JSON}', '', '{"time":1}{'])
      expect(() => JSON.parse(toJsonLine(line))).not.toThrow()
    expect(toJsonLine('{"time":"x"}')).toBe('{"time":"x"}')
  })
})
