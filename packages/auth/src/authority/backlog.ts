import { isQuintetError, type Logger } from '@quintet/core'

/** How many steps may wait; beyond that the oldest is given up. */
const maxWaiting = 10_000
const retryInterval = 250
/** After so many steps in a row that cannot be taken, the others wait for the next round. */
const failuresInRow = 16

/** Steps that could not be taken yet: each is repeated until it can be. */
export class Backlog implements AsyncDisposable {
  readonly #logger: Logger
  readonly #waiting = new Map<string, () => Promise<unknown>>()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #closed = false

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Takes the step now. Rejects when that fails; it is then repeated under its key, where only the newest stands. */
  async nowOrLater(key: string, step: () => Promise<unknown>): Promise<void> {
    try {
      await step()
      this.#waiting.delete(key)
    } catch (error) {
      this.later(key, step, error)
      throw error
    }
  }

  /** Leaves the step for later. `error` is why. */
  later(key: string, step: () => Promise<unknown>, error: unknown): void {
    if (this.#closed) return
    if (this.#waiting.size === 0) {
      const reason = isQuintetError(error) ? error.code : 'unknown'
      this.#logger.warn({ reason }, 'session changes are waiting for redis or the session store')
    }
    this.#putLast(key, step)
    if (this.#waiting.size > maxWaiting) this.#waiting.delete(this.#waiting.keys().next().value ?? '')
    this.#schedule()
  }

  /** Takes the step shortly, unless `drop` comes first: for what another is expected to do. */
  expect(key: string, step: () => Promise<unknown>): void {
    if (this.#closed) return
    this.#putLast(key, step)
    this.#schedule()
  }

  drop(key: string): void {
    this.#waiting.delete(key)
  }

  /** Gives up what waits. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#running
    this.#waiting.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #putLast(key: string, step: () => Promise<unknown>): void {
    this.#waiting.delete(key)
    this.#waiting.set(key, step)
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed || this.#waiting.size === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#running = this.#retry().finally(() => this.#schedule())
    }, retryInterval)
    this.#timer.unref()
  }

  async #retry(): Promise<void> {
    let failures = 0
    for (const [key, step] of [...this.#waiting]) {
      if (this.#closed || failures >= failuresInRow) return
      if (this.#waiting.get(key) !== step) continue
      try {
        await step()
        failures = 0
        if (this.#waiting.get(key) === step) this.#waiting.delete(key)
      } catch {
        failures += 1
        // Behind the others: what will never be taken must not keep them from it.
        if (this.#waiting.get(key) === step) this.#putLast(key, step)
      }
    }
    if (this.#waiting.size === 0) this.#logger.info({}, 'no session change is waiting any more')
  }
}
