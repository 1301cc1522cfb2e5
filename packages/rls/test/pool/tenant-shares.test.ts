import { describe, expect, it } from 'vitest'
import { createTenantShares, type Leave } from '../../src/pool/tenant-shares.ts'

describe('the line of a tenant', () => {
  it('is left by those whose call was aborted, and holds up none behind them', () => {
    const shares = createTenantShares(1, 0)
    const first = Promise.withResolvers<Leave>()
    let leave: Leave | undefined
    shares.enter('a', undefined, (_error, given) => (leave = given))
    const { abort, signal } = withAbort()
    const told: unknown[] = []
    for (let index = 0; index < 500; index++)
      shares.enter('a', signal, (error, given) => told.push(error ?? given))
    shares.enter('a', undefined, (error, given) => {
      if (given) first.resolve(given)
      else first.reject(error)
    })
    abort()
    expect(told).toEqual(Array.from({ length: 500 }, () => signal.reason as Error))
    let isLive = false
    void first.promise.then(() => (isLive = true))
    leave?.()
    return first.promise.then(() => expect([isLive, told.length]).toEqual([true, 500]))
  })

  it('gives a place to whoever waits only once, whether or not its signal aborts later', () => {
    const shares = createTenantShares(1, 0)
    let leave: Leave | undefined
    shares.enter('a', undefined, (_error, given) => (leave = given))
    const { abort, signal } = withAbort()
    const told: unknown[] = []
    shares.enter('a', signal, (error, given) => told.push(error ?? given))
    leave?.()
    abort()
    expect(told).toEqual([expect.any(Function)])
  })
})

function withAbort(): { abort: () => void; signal: AbortSignal } {
  const controller = new AbortController()
  return { abort: () => controller.abort(), signal: controller.signal }
}
