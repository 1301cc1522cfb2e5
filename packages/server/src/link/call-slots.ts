/** As many calls can be in progress on one link; their numbers are below it. */
export const maxCalls = 1 << 20

/**
 * The calls in progress on one link, by their numbers, which are small: an array holds them. A map that gains and loses
 * an entry with each call leaves tables behind that the garbage collector takes for alive.
 */
export class CallSlots<Call> implements Iterable<Call> {
  readonly #calls: (Call | undefined)[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  get(id: number): Call | undefined {
    return this.#calls[id]
  }

  /** @throws TypeError when the number is out of bounds or taken. */
  set(id: number, call: Call): void {
    if (id >= maxCalls || this.#calls[id] !== undefined)
      throw new TypeError(`A call cannot have the number ${String(id)}.`)
    while (this.#calls.length < id) this.#calls.push(undefined)
    this.#calls[id] = call
    this.#size++
  }

  delete(id: number): void {
    if (this.#calls[id] === undefined) return
    this.#calls[id] = undefined
    this.#size--
  }

  *[Symbol.iterator](): Iterator<Call> {
    for (const call of this.#calls) if (call !== undefined) yield call
  }
}

/** Gives out the numbers of calls, the ones that were given back first. */
export class CallNumbers {
  readonly #free: number[] = []
  #next = 1

  /** @returns undefined when all are in use. */
  take(): number | undefined {
    return this.#free.pop() ?? (this.#next < maxCalls ? this.#next++ : undefined)
  }

  giveBack(id: number): void {
    this.#free.push(id)
  }
}
