import type { StreamItem } from './resume.ts'

/** Events that have arrived and wait to be read. */
export class EventQueue implements AsyncIterable<StreamItem> {
  /** Called once when it is not read any further; `early` when that was before the end. */
  onLeave: ((early: boolean) => void) | undefined
  /** Called with the number of events that have been read since the last time, when there is room for more. */
  readonly #onRead: ((count: number) => void) | undefined
  readonly #reportEvery: number
  readonly #events: StreamItem[] = []
  #read = 0
  #over = false
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(onRead?: (count: number) => void, reportEvery = 1) {
    this.#onRead = onRead
    this.#reportEvery = reportEvery
  }

  push(event: StreamItem): void {
    this.#events.push(event)
    this.#wake?.()
  }

  end(): void {
    this.#over = true
    this.#wake?.()
  }

  /** What has arrived before is still read. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamItem, void, undefined> {
    try {
      for (;;) {
        const event = this.#events.shift()
        if (event !== undefined) {
          if (this.#onRead !== undefined && ++this.#read >= this.#reportEvery) {
            this.#onRead(this.#read)
            this.#read = 0
          }
          yield event
        } else if (this.#failure !== undefined) {
          throw this.#failure.error
        } else if (this.#over) {
          return
        } else {
          await new Promise<void>((resolve) => (this.#wake = resolve))
        }
      }
    } finally {
      this.onLeave?.(!this.#over && this.#failure === undefined)
    }
  }
}
