import { describe, expect, it, vi } from 'vitest'
import { createLifecycle } from '../../src/kit.ts'
import { silentLogger } from '../../src/index.ts'
import { recordedLogger } from '../recorded-logger.ts'

const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length

describe('createLifecycle', () => {
  it('disposes in reverse order, after the signal has aborted', async () => {
    const events: string[] = []
    const lifecycle = createLifecycle({ logger: silentLogger })
    lifecycle.signal.addEventListener('abort', () => events.push('abort'))
    const value = { [Symbol.dispose]: () => void events.push('disposable') }
    expect(lifecycle.use(value)).toBe(value)
    lifecycle.use({ [Symbol.asyncDispose]: async () => void events.push('async disposable') })
    lifecycle.onStop('pool', () => void events.push('pool'))
    await Promise.all([lifecycle.close(), lifecycle.close()])
    expect(events).toEqual(['abort', 'pool', 'async disposable', 'disposable'])
    expect(lifecycle.phase).toBe('stopped')
  })

  it('disposes everything although something fails, and reports all that failed', async () => {
    const events: string[] = []
    const lifecycle = createLifecycle({ logger: silentLogger })
    lifecycle.onStop('first', () => void events.push('first'))
    lifecycle.onStop('second', () => Promise.reject(new Error('second')))
    lifecycle.onStop('third', () => {
      throw new Error('third')
    })
    const error = await lifecycle.close().catch((thrown: unknown) => thrown)
    expect(events).toEqual(['first'])
    expect((error as AggregateError).errors.map(String)).toEqual(['Error: third', 'Error: second'])
  })

  it('names what it waits for', async () => {
    const end = Promise.withResolvers<void>()
    const lifecycle = createLifecycle({ logger: silentLogger })
    lifecycle.onStop('pool', () => end.promise)
    const closed = lifecycle.close()
    expect(lifecycle.closing).toBe('pool')
    end.resolve()
    await closed
    expect(lifecycle.closing).toBeUndefined()
  })

  it('takes nothing after it has ended', async () => {
    const lifecycle = createLifecycle({ logger: silentLogger })
    await lifecycle.close()
    expect(() => lifecycle.onStop('pool', () => {})).toThrow('"pool" comes too late')
    const before = timers()
    lifecycle.setInterval(() => {}, '1h')
    lifecycle.setTimeout(() => {}, '1h')
    expect(timers()).toBe(before)
  })

  it('leaves no timer behind', async () => {
    const before = timers()
    const lifecycle = createLifecycle({ logger: silentLogger })
    lifecycle.setInterval(() => {}, '1h')
    lifecycle.setTimeout(() => {}, '1h')
    const stopped = lifecycle.setInterval(() => {}, '1h')
    expect(lifecycle.timers).toBe(3)
    stopped[Symbol.dispose]()
    expect(lifecycle.timers).toBe(2)
    await lifecycle.close()
    expect(lifecycle.timers).toBe(0)
    expect(timers()).toBe(before)
  })

  it('refuses what no timer can wait, which would fire at once', async () => {
    await using lifecycle = createLifecycle({ logger: silentLogger })
    expect(() => lifecycle.setInterval(() => {}, '30d')).toThrow(
      'lifecycle.setInterval: "30d" is longer than a timer can wait. Give 24 days at most.',
    )
    expect(() => lifecycle.setTimeout(() => {}, '25d')).toThrow('longer than a timer can wait')
    expect(() => lifecycle.setInterval(() => {}, 0)).toThrow('must be longer than 0')
    lifecycle.setTimeout(() => {}, '24d')
    expect(lifecycle.timers).toBe(1)
  })

  it('logs what a timer throws, and goes on', async () => {
    vi.useFakeTimers()
    try {
      const logger = recordedLogger()
      const lifecycle = createLifecycle({ logger })
      let runs = 0
      lifecycle.setInterval(async () => {
        runs++
        throw new Error('no')
      }, '1s')
      lifecycle.setTimeout(() => {
        throw new Error('no')
      }, '1s')
      await vi.advanceTimersByTimeAsync(2_000)
      expect(runs).toBe(2)
      expect(logger.lines).toHaveLength(3)
      expect(lifecycle.timers).toBe(1)
      await lifecycle.close()
    } finally {
      vi.useRealTimers()
    }
  })

  it('does not run an interval again while it still runs', async () => {
    vi.useFakeTimers()
    try {
      const lifecycle = createLifecycle({ logger: silentLogger })
      const end = Promise.withResolvers<void>()
      let runs = 0
      lifecycle.setInterval(() => {
        runs++
        return end.promise
      }, 10)
      await vi.advanceTimersByTimeAsync(100)
      expect(runs).toBe(1)
      end.resolve()
      await vi.advanceTimersByTimeAsync(10)
      expect(runs).toBe(2)
      await lifecycle.close()
    } finally {
      vi.useRealTimers()
    }
  })

  it('disposes what comes after its end, and says why', async () => {
    const logger = recordedLogger()
    const lifecycle = createLifecycle({ logger })
    await lifecycle.close()
    const events: string[] = []
    const late = { [Symbol.asyncDispose]: async () => void events.push('disposed') }
    expect(() => lifecycle.use(late)).toThrow(
      'comes too late; the process has stopped. It is released at once.',
    )
    expect(events).toEqual(['disposed'])
    const broken = { [Symbol.dispose]: () => expect.fail('no') }
    expect(() => lifecycle.use(broken)).toThrow('comes too late')
    await expect.poll(() => logger.lines).toHaveLength(1)
  })

  it('waits a second at most for what is still being made', async () => {
    vi.useFakeTimers()
    try {
      const lifecycle = createLifecycle({ logger: silentLogger })
      const events: string[] = []
      lifecycle.onStop('pool', () => void events.push('pool'))
      void lifecycle.making('model', new Promise(() => {}))
      const closed = lifecycle.close()
      await vi.advanceTimersByTimeAsync(900)
      expect([lifecycle.closing, events]).toEqual(['model', []])
      await vi.advanceTimersByTimeAsync(100)
      await closed
      expect(events).toEqual(['pool'])
    } finally {
      vi.useRealTimers()
    }
  })
})
