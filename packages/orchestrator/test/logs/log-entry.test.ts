import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { toLogLines } from '../../src/logs/log-entry.ts'

const now = Date.parse('2026-11-26T10:00:00.000Z')
const converted = (msg: string): string =>
  JSON.stringify({ level: 'error', time: '2026-11-26T10:00:00.000Z', stream: 'stderr', msg })

it('leaves lines of a logger as they are, and makes objects of the others', () => {
  const logged = '{"level":"info","time":1,"msg":"a"}'
  for (const [given, expected] of [
    [[logged], [logged]],
    [
      [logged, logged, 'plain', logged],
      [logged, logged, converted('plain'), logged],
    ],
    [
      ['plain', ''],
      [converted('plain'), converted('')],
    ],
    // JSON without a time, the end of an object, a time outside of one.
    [
      ['{"msg":"a"}', logged],
      [converted('{"msg":"a"}'), logged],
    ],
    [
      ['"time":1}', '{'],
      [converted('"time":1}'), converted('{')],
    ],
    [
      ['windows\r', logged],
      [converted('windows'), logged],
    ],
  ] as const)
    expect(toLogLines(`${given.join('\n')}\n`, 'stderr', now)).toBe(`${expected.join('\n')}\n`)
})

it('treats each line for itself, whatever comes with it', () => {
  const line = fc.oneof(
    fc.string({ unit: 'binary' }).map((text) => text.replaceAll(/[\r\n]/g, '')),
    fc.constantFrom('{"time":1}', '{"a":1}', '{', '}', '"time":', '{"time":'),
  )
  fc.assert(
    fc.property(fc.array(line, { minLength: 1 }), (lines) => {
      const together = toLogLines(`${lines.join('\n')}\n`, 'stdout', now)
      expect(together).toBe(lines.map((each) => toLogLines(`${each}\n`, 'stdout', now)).join(''))
    }),
  )
})
