import { describe, expect, it } from 'vitest'
import { createTenantTurns } from '../../src/images/tenant-turns.ts'

const never = new AbortController().signal

/** Work that goes on until it is told to end. */
function work(): { readonly run: () => Promise<string>; end(): void; readonly began: Promise<void> } {
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

describe('turns of tenants', () => {
  it('leaves room for another tenant, however much one asks for', async () => {
    const turns = createTenantTurns({ total: 2, perTenant: 1, maxWaiting: 8 })
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

  it('refuses what would wait too long, and frees its places', async () => {
    const turns = createTenantTurns({ total: 1, perTenant: 1, maxWaiting: 1 })
    const [running, waiting] = [work(), work()]
    const first = turns.take('acme', never, running.run)
    const gone = new AbortController()
    const second = turns.take('acme', gone.signal, waiting.run)
    await expect(turns.take('acme', never, waiting.run)).rejects.toMatchObject({
      code: 'ERR_MEDIA_TOO_MANY_RENDERS',
      kind: 'rate-limited',
    })
    gone.abort(new Error('gone'))
    await expect(second).rejects.toThrow('gone')
    const third = turns.take('acme', never, waiting.run)
    running.end()
    await first
    waiting.end()
    expect(await third).toBe('done')
  })

  it('goes on after work that fails', async () => {
    const turns = createTenantTurns({ total: 1, perTenant: 1, maxWaiting: 1 })
    await expect(turns.take('acme', never, () => Promise.reject(new Error('failed')))).rejects.toThrow(
      'failed',
    )
    await expect(turns.take('acme', never, async () => 'done')).resolves.toBe('done')
  })
})
