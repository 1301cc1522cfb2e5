/** An auto-reset event: a loop waits for it, anything may set it. */
export interface WakeSignal {
  readonly set: () => void
  reset(): void
  /** Resolves when it was set since the last reset, or after the time. */
  wait(ms: number): Promise<void>
}

export function createWakeSignal(): WakeSignal {
  let state = Promise.withResolvers<void>()
  return {
    set: () => state.resolve(),
    reset() {
      state = Promise.withResolvers()
    },
    async wait(ms) {
      const timer = setTimeout(state.resolve, ms)
      await state.promise
      clearTimeout(timer)
    },
  }
}
