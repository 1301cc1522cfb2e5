import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assertShutdownOrder, dependencyProblems, sortByDependencies } from '../../src/ecosystem.ts'

const item = (name: string, ...dependsOn: string[]) => ({ name, dependsOn })

describe('sortByDependencies', () => {
  it('puts each after what it depends on, and leaves the order else', () => {
    const sorted = sortByDependencies([
      item('media', 'auth'),
      item('analytics'),
      item('auth'),
      item('gateway', 'media'),
    ])
    expect(sorted.map(({ name }) => name)).toEqual(['analytics', 'auth', 'media', 'gateway'])
  })

  it('holds for every graph without a circle', () => {
    const graph = fc.array(fc.array(fc.nat(20), { maxLength: 4 }), { maxLength: 20 })
    fc.assert(
      fc.property(graph, (edges) => {
        const items = edges.map((targets, index) =>
          item(
            `n${index}`,
            ...new Set(targets.filter((target) => target < index).map((target) => `n${target}`)),
          ),
        )
        const order = sortByDependencies(items.toReversed()).map(({ name }) => name)
        expect(order).toHaveLength(items.length)
        for (const { name, dependsOn } of items) {
          for (const dependency of dependsOn)
            expect(order.indexOf(dependency)).toBeLessThan(order.indexOf(name))
        }
      }),
    )
  })

  it('names what does not exist, and the circle', () => {
    expect(dependencyProblems([item('media', 'aut'), item('auth')])).toEqual([
      '"media" depends on "aut", which does not exist. Did you mean "auth"?',
    ])
    expect(() => sortByDependencies([item('a', 'b'), item('b', 'c'), item('c', 'b')])).toThrow('b -> c -> b')
    expect(dependencyProblems([item('a', 'a')])).toEqual(['the dependencies go round in a circle: a -> a.'])
  })
})

describe('assertShutdownOrder', () => {
  const app = (name: string, priority: number, ...dependsOn: string[]) => ({ name, priority, dependsOn })

  it('takes priorities that agree with the dependencies', () => {
    assertShutdownOrder([app('auth', 0), app('realtime', -10, 'auth'), app('media', 0, 'auth')])
  })

  it('refuses one that would stop an app after what it depends on, also indirectly', () => {
    expect(() => assertShutdownOrder([app('auth', 0), app('ledger', 15, 'auth')])).toThrow(
      '"ledger" depends on "auth" and so stops before it, but its shutdown.priority 15 asks to stop after "auth" with 0',
    )
    expect(() => assertShutdownOrder([app('a', 0), app('b', 20, 'a'), app('c', 10, 'b')])).toThrow(
      '"c" depends on "a"',
    )
  })
})
