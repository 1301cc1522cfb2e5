import { afterReads } from './timers.ts'

export interface LivenessOptions {
  /** Milliseconds without a word after which the other side is asked; 0 never asks. */
  readonly interval: number
  /** Milliseconds until it must have answered. */
  readonly timeout: number
  /** By which part of it the interval varies, so that connections made together do not ask together. @defaultValue 0 */
  readonly jitter?: number
  /** Asks the other side for a sign of life. */
  readonly ping: () => void
  /** Called once when it has given none in time. */
  readonly onLost: () => void
}

/** A keep-alive probe: whether the other side of a connection is still there. */
export interface Liveness {
  /** To be called when anything is heard that shows that the other side lives. */
  heard(): void
  stop(): void
}

/**
 * Begins to probe a connection. What has arrived while this process stood still counts: after a pause (a laptop's
 * sleep, a long garbage collection) the answer is read before the connection is given up. Its timers keep no process alive.
 *
 * @example
 * const liveness = createLiveness({ interval: 15_000, timeout: 5_000, ping: () => socket.ping(), onLost: () => socket.terminate() })
 * socket.on('pong', () => liveness.heard())
 */
export function createLiveness({ interval, timeout, jitter = 0, ping, onLost }: LivenessOptions): Liveness {
  let timer: ReturnType<typeof setTimeout> | undefined
  let heardAt = performance.now()
  let stopped = interval === 0

  const wait = (ms: number, run: () => void): void => {
    timer = setTimeout(run, ms)
    // In a browser a timer is a number.
    if (typeof timer === 'object') timer.unref()
  }
  const waitForSilence = (): void => {
    const silence = interval * (1 + (2 * Math.random() - 1) * jitter)
    const look = (): void => {
      const left = silence - (performance.now() - heardAt)
      if (left > 1) wait(left, look)
      else ask()
    }
    look()
  }
  const ask = (): void => {
    const askedAt = performance.now()
    ping()
    if (stopped) return
    wait(timeout, () =>
      afterReads(() => {
        if (stopped) return
        if (heardAt >= askedAt) {
          waitForSilence()
          return
        }
        stopped = true
        onLost()
      }),
    )
  }
  if (!stopped) waitForSilence()
  return {
    heard: () => void (heardAt = performance.now()),
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}
