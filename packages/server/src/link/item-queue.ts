import { initialCredit } from './link-session.ts'

/** The items of a stream that have arrived and wait to be read. Its reader's pace becomes the sender's. */
export class ItemQueue implements AsyncIterable<unknown> {
  readonly #grant: (count: number) => void
  readonly #leave: () => void
  readonly #items: unknown[] = []
  #read = 0
  #over = false
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  /**
   * @param grant lets the sender send so many more.
   * @param leave tells the sender that nobody reads any further.
   */
  constructor(grant: (count: number) => void, leave: () => void) {
    this.#grant = grant
    this.#leave = leave
  }

  push(item: unknown): void {
    this.#items.push(item)
    this.#wake?.()
  }

  end(): void {
    this.#over = true
    this.#wake?.()
  }

  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<unknown, void, undefined> {
    try {
      for (;;) {
        if (this.#items.length > 0) {
          const item = this.#items.shift()
          // Half of the room at a time, so that the sender need not stop and go for each.
          if (++this.#read >= initialCredit / 2) {
            this.#grant(this.#read)
            this.#read = 0
          }
          yield item
        } else if (this.#failure !== undefined) {
          throw this.#failure.error
        } else if (this.#over) {
          return
        } else {
          await new Promise<void>((resolve) => (this.#wake = resolve))
        }
      }
    } finally {
      if (!this.#over && this.#failure === undefined) this.#leave()
    }
  }
}
