/** Waits until a condition holds that other code changes. */
export interface Waiter {
  /** To be called after each change. */
  check(): void
  /** Resolves when the condition holds or the signal aborts. */
  wait(signal: AbortSignal): Promise<void>
}

export function createWaiter(holds: () => boolean): Waiter {
  const waiting = new Set<() => void>()
  return {
    check() {
      if (waiting.size === 0 || !holds()) return
      for (const resolve of waiting) resolve()
    },
    wait(signal) {
      if (holds() || signal.aborted) return Promise.resolve()
      return new Promise((resolve) => {
        const done = (): void => {
          waiting.delete(done)
          signal.removeEventListener('abort', done)
          resolve()
        }
        waiting.add(done)
        signal.addEventListener('abort', done, { once: true })
      })
    },
  }
}
