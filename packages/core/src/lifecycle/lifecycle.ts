import type { Duration } from '../options/duration.ts'

export type Phase = 'created' | 'starting' | 'running' | 'stopping' | 'stopped'

/** What lives as long as the process: timers, disposables and the signal that ends them. */
export interface Lifecycle {
  readonly phase: Phase
  /** Aborts when the process has drained and begins to let go of its resources. */
  readonly signal: AbortSignal
  /**
   * Disposes the value when the process stops, in reverse order of these calls. Returns the value.
   *
   * @throws Error when the process has stopped already; the value is disposed then.
   */
  use<T extends AsyncDisposable | Disposable>(value: T): T
  /** Runs when the process stops, in reverse order. */
  onStop(name: string, stop: () => Promise<void> | void): void
  /**
   * A timer that stops with the process. Errors are logged, never thrown.
   *
   * @throws TypeError for what no timer can wait: more than 24 days, and 0 for an interval.
   */
  setInterval(run: () => Promise<void> | void, every: Duration): Disposable
  setTimeout(run: () => Promise<void> | void, after: Duration): Disposable
}
