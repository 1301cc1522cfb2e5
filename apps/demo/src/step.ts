export interface StepResult {
  readonly name: string
  readonly ok: boolean
  /** What happened, in a few words. */
  readonly detail: string
  readonly durationMs: number
  readonly error?: unknown
}

/** Runs the steps of a scenario one after another and keeps what became of each. */
export interface StepRunner {
  readonly results: readonly StepResult[]
  /** Runs one step. What `play` returns as `detail` is shown; what it returns as `value` is handed on. */
  step<Value>(
    name: string,
    play: () => Promise<{ readonly detail: string; readonly value: Value }>,
  ): Promise<Value>
  check(name: string, play: () => Promise<string>): Promise<void>
}

export function createStepRunner(onStep: (result: StepResult) => void = () => {}): StepRunner {
  const results: StepResult[] = []
  const record = (result: StepResult): void => {
    results.push(result)
    onStep(result)
  }
  const step: StepRunner['step'] = async (name, play) => {
    const start = performance.now()
    try {
      const { detail, value } = await play()
      record({ name, ok: true, detail, durationMs: performance.now() - start })
      return value
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error)
      record({ name, ok: false, detail, durationMs: performance.now() - start, error })
      throw error
    }
  }
  return {
    results,
    step,
    async check(name, play) {
      await step(name, async () => ({ detail: await play(), value: undefined }))
    },
  }
}
