/**
 * Hands items from a producer to one consumer, one at a time. The producer runs where it was started (inside
 * the invocation wrappers and their async context), however and wherever the consumer asks for the next item.
 */
export interface Handover<Item> {
  /** Produces an item each time one is asked for, until the sequence has ended or the consumer has left. */
  pump(sequence: AsyncIterable<Item>): Promise<void>
  /** The next item, or undefined at the end. Rejects when the sequence failed. */
  take(): Promise<{ readonly item: Item } | undefined>
  /** The consumer wants no more. */
  leave(): void
  end(): void
  fail(reason: unknown): void
}

export function createHandover<Item>(): Handover<Item> {
  let asked = Promise.withResolvers<boolean>()
  let answer: PromiseWithResolvers<{ readonly item: Item } | undefined> | undefined
  let outcome: { readonly failed: boolean; readonly reason: unknown } | undefined

  const finish = (failed: boolean, reason: unknown): void => {
    if (outcome !== undefined) return
    outcome = { failed, reason }
    asked.resolve(false)
    if (answer === undefined) return
    if (failed) answer.reject(reason)
    else answer.resolve(undefined)
  }

  return {
    async pump(sequence) {
      const iterator = sequence[Symbol.asyncIterator]()
      while (await asked.promise) {
        if (outcome !== undefined) break
        asked = Promise.withResolvers()
        const step = await iterator.next()
        if (step.done === true) return
        answer?.resolve({ item: step.value })
      }
      await iterator.return?.()
    },
    take() {
      if (outcome !== undefined) {
        return outcome.failed ? Promise.reject(outcome.reason) : Promise.resolve(undefined)
      }
      answer = Promise.withResolvers()
      asked.resolve(true)
      return answer.promise
    },
    leave: () => finish(false, undefined),
    end: () => finish(false, undefined),
    fail: (reason) => finish(true, reason),
  }
}
