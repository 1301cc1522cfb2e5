import { describe, expect, it } from 'vitest'
import { startOrder } from '../../src/plan/start-order.ts'

const each = (id: string, ...dependsOn: (readonly string[])[]) => ({ id, dependsOn })

describe('startOrder', () => {
  it('puts a process behind what it waits for, and beside what it does not', () => {
    const steps = startOrder([each('c', ['b'], ['a']), each('a'), each('b', ['a']), each('d')])
    expect(steps.map((step) => step.map(({ id }) => id))).toEqual([['a', 'd'], ['b'], ['c']])
  })

  it('waits for one of several instances', () => {
    const steps = startOrder([each('a.0'), each('a.1', ['x']), each('b', ['a.0', 'a.1']), each('x', ['b'])])
    expect(steps.map((step) => step.map(({ id }) => id))).toEqual([['a.0'], ['b'], ['x'], ['a.1']])
  })

  it('shows a circle as one step', () => {
    expect(startOrder([each('a', ['b']), each('b', ['a'])])).toHaveLength(1)
  })
})
