/** The messages of one connection that are in progress: in their order on each channel, side by side otherwise. */
export interface MessageQueue {
  readonly length: number
  /** @param work must not reject. */
  add(channel: string, work: () => Promise<void>): void
  /** Resolves when no message is in progress. */
  whenIdle(): Promise<void>
}

export function createMessageQueue(): MessageQueue {
  /** The last message of each channel. */
  const tails = new Map<string, Promise<void>>()
  const onIdle: (() => void)[] = []
  let length = 0
  return {
    get length() {
      return length
    },
    add(channel, work) {
      length += 1
      const tail = (tails.get(channel) ?? Promise.resolve()).then(work).finally(() => {
        length -= 1
        if (tails.get(channel) === tail) tails.delete(channel)
        if (length === 0) for (const resolve of onIdle.splice(0)) resolve()
      })
      tails.set(channel, tail)
    },
    whenIdle() {
      return length === 0 ? Promise.resolve() : new Promise((resolve) => onIdle.push(resolve))
    },
  }
}
