import type { Clock } from '../clock.ts'
import type { Pipeline } from './pipeline.ts'
import type { Ending, PipelineCall } from './pipeline-call.ts'
import { stopping } from './refusals.ts'

/** How often it is looked for calls that last, in milliseconds; those are ended when the session of their caller ends. */
const lastingInterval = 500

/** The calls that have begun and whose handlers have not ended, as a linked list: most come and go without being asked for. */
export class CallsInProgress {
  size = 0
  draining = false
  readonly ending: Ending = { listening: new Set(), reason: undefined }
  readonly #sessions: Pick<Pipeline, 'watch'> | undefined
  readonly #clock: Clock
  #newest: PipelineCall | undefined
  #onIdle: (() => void)[] = []
  #lasting: NodeJS.Timeout | undefined

  /** @param sessions those behind calls that last; undefined where they cannot be followed. */
  constructor(sessions: Pick<Pipeline, 'watch'> | undefined, clock: Clock) {
    this.#sessions = sessions
    this.#clock = clock
  }

  countByOperation(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (let call = this.#newest; call !== undefined; call = call.older) {
      counts.set(call.operation.name, (counts.get(call.operation.name) ?? 0) + 1)
    }
    return counts
  }

  add(call: PipelineCall): void {
    this.size++
    if (this.#lasting === undefined && this.#sessions !== undefined)
      this.#lasting = setInterval(() => this.#followSessions(), lastingInterval).unref()
    call.older = this.#newest
    if (this.#newest !== undefined) this.#newest.newer = call
    this.#newest = call
  }

  remove(call: PipelineCall): void {
    call.release()
    this.size--
    if (call.newer === undefined) this.#newest = call.older
    else call.newer.older = call.older
    if (call.older !== undefined) call.older.newer = call.newer
    call.older = call.newer = undefined
    if (this.size === 0 && this.#onIdle.length > 0) {
      const waiting = this.#onIdle
      this.#onIdle = []
      for (const resolve of waiting) resolve()
    }
  }

  /** Resolves when none is left, or when the signal has aborted those that are. */
  drain(signal: AbortSignal): Promise<void> {
    this.draining = true
    if (this.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const finish = (): void => {
        signal.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = (): void => {
        const reason = (this.ending.reason = stopping())
        for (const call of this.ending.listening) call.abort(reason)
        resolve()
      }
      if (signal.aborted) return giveUp()
      signal.addEventListener('abort', giveUp, { once: true })
      this.#onIdle.push(finish)
    })
  }

  /** A call is authenticated when it begins; one that lasts, such as an upload or a stream, goes on no longer than its session. */
  #followSessions(): void {
    if (this.#newest === undefined || this.#sessions === undefined) {
      clearInterval(this.#lasting)
      this.#lasting = undefined
      return
    }
    const now = this.#clock.monotonic()
    for (let call: PipelineCall | undefined = this.#newest; call !== undefined; call = call.older) {
      if (now - call.startedMonotonic >= lastingInterval) call.followSession(this.#sessions)
    }
  }
}
