import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SecondChanceMap } from '../src/second-chance-map.ts'

describe('SecondChanceMap', () => {
  it('never exceeds its limit, and never gives a value that was not the last one set', () => {
    const step = fc.record({
      kind: fc.constantFrom('get', 'set', 'delete'),
      key: fc.integer({ min: 0, max: 12 }),
    })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step, { maxLength: 200 }), (limit, steps) => {
        const map = new SecondChanceMap<number, number>(limit)
        const model = new Map<number, number>()
        for (const [index, { kind, key }] of steps.entries()) {
          if (kind === 'set') {
            map.set(key, index)
            model.set(key, index)
          } else if (kind === 'delete') {
            map.delete(key)
            model.delete(key)
          }
          // What was set just now is there; anything else may have been dropped.
          expect([model.get(key), ...(kind === 'set' ? [] : [undefined])]).toContain(map.get(key))
          expect(map.size).toBeLessThanOrEqual(limit)
        }
        map.clear()
        expect(map.size).toBe(0)
      }),
    )
  })

  it('passes over what was read since, once', () => {
    const map = new SecondChanceMap<string, number>(2)
    map.set('a', 1)
    map.set('b', 2)
    map.get('a')
    map.set('c', 3)
    expect(map.get('a')).toBe(1)
    expect(map.get('b')).toBeUndefined()
  })
})
