import { describe, expect, it } from 'vitest'
import { createKeyedSemaphore } from '../../src/index.ts'

const never = new AbortController().signal

interface Work {
  readonly run: () => Promise<string>
  end(): void
  readonly began: Promise<void>
}

/** Work that goes on until it is told to end. */
function work(): Work {
  const [started, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<string>()]
  return {
    run: () => {
      started.resolve()
      return ended.promise
    },
    end: () => ended.resolve('done'),
    began: started.promise,
  }
}

describe('turns', () => {
  it('leave room for another key, however much one asks for', async () => {
    const turns = createKeyedSemaphore({ total: 2, perKey: 1 })
    const [first, second, other] = [work(), work(), work()]
    const order: string[] = []
    const running = [
      turns.take('acme', never, first.run).then(() => order.push('first')),
      turns.take('acme', never, second.run).then(() => order.push('second')),
      turns.take('globex', never, other.run).then(() => order.push('other')),
    ]
    await other.began
    other.end()
    await running[2]
    first.end()
    await second.began
    second.end()
    await Promise.all(running)
    expect(order).toEqual(['other', 'first', 'second'])
  })

  it('alternate between keys that wait', async () => {
    const turns = createKeyedSemaphore({ total: 1, perKey: 1 })
    const order: string[] = []
    const blocker = work()
    const all = [turns.take('acme', never, blocker.run)]
    for (const [key, name] of [
      ['acme', 'a1'],
      ['acme', 'a2'],
      ['globex', 'g1'],
      ['globex', 'g2'],
    ] as const)
      all.push(turns.take(key, never, async () => String(order.push(name))))
    blocker.end()
    await Promise.all(all)
    expect(order).toEqual(['a1', 'g1', 'a2', 'g2'])
  })

  it.each([{ waitingPerKey: 1 }, { waiting: 1 }])(
    'refuse what would wait too long with %j, and free its places',
    async (bound) => {
      const turns = createKeyedSemaphore({ total: 1, perKey: 1, ...bound })
      const [running, waiting] = [work(), work()]
      const first = turns.take('acme', never, running.run)
      const gone = new AbortController()
      const second = turns.take('acme', gone.signal, waiting.run)
      await expect(turns.take('acme', never, waiting.run)).rejects.toMatchObject({
        code: 'ERR_CORE_RATE_LIMITED',
        kind: 'rate-limited',
      })
      gone.abort(new Error('gone'))
      await expect(second).rejects.toThrow('gone')
      const third = turns.take('acme', never, waiting.run)
      running.end()
      await first
      waiting.end()
      expect(await third).toBe('done')
    },
  )

  it('are not taken from a key that asks for little, whoever fills the line', async () => {
    const turns = createKeyedSemaphore({ total: 1, perKey: 1, waitingPerKey: 3, waiting: 6 })
    const blocker = work()
    const all = [turns.take('acme', never, blocker.run)]
    const outcomes: string[] = []
    const ask = (key: string, name: string): void => {
      const asked = turns.take(key, never, async () => String(outcomes.push(name)))
      all.push(asked.catch(() => String(outcomes.push(`${name} refused`))))
    }
    for (const key of ['a', 'b']) for (const index of [1, 2, 3]) ask(key, `${key}${index}`)
    // Each flooding key gives up its newest place to one that has fewer, and takes none back.
    ask('honest', 'h1')
    ask('other', 'o1')
    ask('a', 'a4')
    blocker.end()
    await Promise.all(all)
    expect(outcomes.filter((each) => each.endsWith('refused')).toSorted()).toEqual([
      'a3 refused',
      'a4 refused',
      'b3 refused',
    ])
    expect(outcomes.filter((each) => !each.endsWith('refused'))).toEqual(['a1', 'b1', 'h1', 'o1', 'a2', 'b2'])
  })

  it('go on after work that fails, and refuse options that are unknown', async () => {
    const turns = createKeyedSemaphore({ total: 1, perKey: 1 })
    await expect(turns.take('acme', never, () => Promise.reject(new Error('failed')))).rejects.toThrow(
      'failed',
    )
    await expect(turns.take('acme', never, async () => 'done')).resolves.toBe('done')
    expect(() => createKeyedSemaphore({ total: 1, perKeys: 1 } as never)).toThrow('perKey')
  })
})
