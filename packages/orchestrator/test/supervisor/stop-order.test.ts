import { describe, expect, it } from 'vitest'
import { stopOrder } from '../../src/supervisor/stop-order.ts'

function item(id: string, dependsOn: string[] = [], stopPriority = 0, stopsBefore: string[] = []) {
  return { id, dependsOn: dependsOn.map((each) => [each]), stopPriority, stopsBefore }
}

describe('stopOrder', () => {
  it('stops dependents before what they depend on', () => {
    expect(stopOrder([item('auth'), item('media', ['auth']), item('web', ['media'])])).toEqual([
      ['web'],
      ['media'],
      ['auth'],
    ])
  })

  it('stops those with the lowest priority first where there is a choice', () => {
    expect(stopOrder([item('a', [], 5), item('b', [], -1), item('c', [], -1)])).toEqual([['b', 'c'], ['a']])
  })

  it('stops the gateway before all that it leads to', () => {
    expect(stopOrder([item('a'), item('b', ['a']), item('gateway', [], 0, ['a', 'b'])])).toEqual([
      ['gateway'],
      ['b'],
      ['a'],
    ])
  })
})
