import { once } from 'node:events'
import { MessageChannel } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { delay, orAborted, within } from '../../src/kit.ts'

const never = new Promise<never>(() => {})

describe('within', () => {
  it('gives what comes in time, of a promise and of work', async () => {
    expect(await within(10_000, Promise.resolve(1), 'late')).toBe(1)
    expect(await within(10_000, () => 2, 'late')).toBe(2)
    await expect(within(10_000, Promise.reject(new Error('own')), 'late')).rejects.toThrow('own')
    const thrower = (): never => {
      throw new Error('at once')
    }
    await expect(within(10_000, thrower, 'late')).rejects.toThrow('at once')
  })

  it('rejects with a timeout or the error that is made for it, and tells the work', async () => {
    await expect(within(1, never, 'no answer')).rejects.toMatchObject({
      name: 'TimeoutError',
      message: 'no answer',
    })
    let told: unknown
    const work = (signal: AbortSignal): Promise<never> => {
      signal.addEventListener('abort', () => (told = signal.reason))
      return never
    }
    await expect(within(1, work, () => new RangeError('mine'))).rejects.toThrow(RangeError)
    expect(told).toBeInstanceOf(RangeError)
  })

  it('ends with the reason of the signal, and begins nothing after it', async () => {
    const caller = new AbortController()
    let ownReason: unknown
    const work = (signal: AbortSignal): Promise<never> => {
      signal.addEventListener('abort', () => (ownReason = signal.reason))
      return never
    }
    const waiting = within(10_000, work, 'late', caller.signal)
    caller.abort('gone')
    await expect(waiting).rejects.toBe('gone')
    expect(ownReason).toBe('gone')
    let begun = false
    const begin = (): void => void (begun = true)
    await expect(within(10_000, begin, 'late', caller.signal)).rejects.toBe('gone')
    expect(begun).toBe(false)
    await expect(within(10_000, Promise.reject(new Error('unheard')), 'late', caller.signal)).rejects.toBe(
      'gone',
    )
  })

  it('takes what arrived while the process stood still, though its time is over', async () => {
    const { port1, port2 } = new MessageChannel()
    const answer = once(port1, 'message').then(() => 'arrived')
    port1.start()
    const waiting = within(5, answer, 'late')
    port2.postMessage(null)
    const until = performance.now() + 30
    while (performance.now() < until);
    expect(await waiting).toBe('arrived')
    port1.close()
  })

  it('has no limit where no timer could hold it', async () => {
    expect(await within(Number.POSITIVE_INFINITY, delay(1), 'late')).toBeUndefined()
  })
})

describe('orAborted', () => {
  it('gives a value, a promise, or the reason of the signal', async () => {
    expect(await orAborted(1)).toBe(1)
    const caller = new AbortController()
    const waiting = orAborted(never, caller.signal)
    caller.abort('gone')
    await expect(waiting).rejects.toBe('gone')
  })
})

describe('delay', () => {
  it('ends with the reason of its signal', async () => {
    const caller = new AbortController()
    const waiting = delay(60_000, caller.signal)
    caller.abort('gone')
    await expect(waiting).rejects.toBe('gone')
    await expect(delay(60_000, caller.signal)).rejects.toBe('gone')
  })
})
