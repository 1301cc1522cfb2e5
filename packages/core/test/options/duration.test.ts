import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseDuration, parseSize } from '../../src/kit.ts'
import type { Duration, Size } from '../../src/index.ts'

const durationUnits = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const sizeUnits = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3, tb: 1024 ** 4 }

describe('parseDuration', () => {
  it('reads every whole number of every unit', () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom('ms', 's', 'm', 'h', 'd'), (count, unit) => {
        expect(parseDuration(`${count}${unit}`)).toBe(count * durationUnits[unit])
      }),
    )
    expect(parseDuration('1.5s')).toBe(1_500)
    expect(parseDuration(250)).toBe(250)
  })

  it('gives a number that is not negative, or throws a TypeError that names the option', () => {
    const parse = (value: unknown): unknown => {
      try {
        return parseDuration(value as Duration, 'http.timeout')
      } catch (error) {
        return error
      }
    }
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const result = parse(value)
        const isTypeError = result instanceof TypeError && result.message.startsWith('http.timeout: ')
        expect(isTypeError || (typeof result === 'number' && result >= 0)).toBe(true)
      }),
    )
  })

  it.each([
    '',
    's',
    '10',
    '-1s',
    '1 s',
    '1S',
    ' 1s',
    '1e3s',
    'Infinitys',
    '0x10ms',
    Number.NaN,
    -1,
    Infinity,
  ])('refuses %j', (value) => {
    expect(() => parseDuration(value as Duration)).toThrow('is not a duration')
  })
})

describe('parseSize', () => {
  it('reads every whole number of every unit, in any case', () => {
    fc.assert(
      fc.property(
        fc.nat(1_000),
        fc.constantFrom('b', 'kb', 'mb', 'gb', 'tb'),
        fc.boolean(),
        (count, unit, upper) => {
          expect(parseSize(`${count}${upper ? unit.toUpperCase() : unit}` as Size)).toBe(
            count * sizeUnits[unit],
          )
        },
      ),
    )
    expect(parseSize('1.5kb')).toBe(1_536)
  })

  it.each(['', 'mb', '-1mb', '1.3b', '10', '1pb', 1.5, -1, Number.NaN, 2 ** 60])('refuses %j', (value) => {
    expect(() => parseSize(value as Size)).toThrow('is not a size')
  })
})
