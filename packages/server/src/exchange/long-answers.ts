/** Answers that have no end of their own, such as event streams, and are ended when the process stops. */
export class LongAnswers {
  readonly #ends = new Set<() => void>()
  #stopping = false

  /** Registers an answer; it is ended at once while the process stops. */
  add(end: () => void): void {
    if (this.#stopping) end()
    else this.#ends.add(end)
  }

  delete(end: () => void): void {
    this.#ends.delete(end)
  }

  endAll(): void {
    this.#stopping = true
    for (const end of this.#ends) end()
    this.#ends.clear()
  }
}
