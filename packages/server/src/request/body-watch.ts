import type { IncomingMessage } from 'node:http'

/** A body that is being sent. */
export interface WatchedBody {
  /** To be called with each piece of it. */
  progress(bytes: number): void
  /** It is not waited for any more. */
  unwatch(): void
}

/** Holds the senders of bodies to their time, with one timer for all. */
export interface BodyWatch {
  watch(
    request: IncomingMessage,
    limits: {
      /** Milliseconds for the whole body; 0 for no limit. */
      readonly total: number
      /** Milliseconds without progress while more is wanted; 0 for no limit. */
      readonly still: number
      /** How many bytes a second are progress; with 0 any byte is. */
      readonly pace: number
    },
    onTimeout: () => void,
  ): WatchedBody
  /** From now on no body may stand still for longer than this, in milliseconds: a stop waits for all of them. */
  shortenTo(still: number): void
  close(): void
}

/** @param shortest the shortest limit that will be watched, in milliseconds; it is noticed within a quarter of that. */
export function createBodyWatch(shortest: number): BodyWatch {
  const watched: Body[] = []
  const every = Math.min(1_000, Math.max(20, shortest / 4))
  let longest = Number.POSITIVE_INFINITY

  // The time of the last look is near enough for the start of a body, and costs nothing.
  let now = performance.now()
  const look = (): void => {
    const before = now
    now = performance.now()
    // The process stood still itself: what has arrived meanwhile is read after this look.
    const paused = now - before - every
    if (paused > 0) for (const body of watched) body.excuse(paused)
    for (const body of watched.filter((candidate) => candidate.isLate(now, every, longest))) {
      body.unwatch()
      body.onTimeout()
    }
  }
  const timer = setInterval(look, every).unref()

  return {
    watch: (request, limits, onTimeout) => new Body(watched, request, limits, now, onTimeout),
    shortenTo(still) {
      longest = still
    },
    close() {
      clearInterval(timer)
    },
  }
}

class Body implements WatchedBody {
  readonly onTimeout: () => void
  readonly #all: Body[]
  readonly #request: IncomingMessage
  readonly #limits: { readonly total: number; readonly still: number; readonly pace: number }
  #startedAt: number
  /** Its place among all, which changes; -1 once it is watched no more. */
  #index: number
  #bytes = 0
  /** What had come when it made progress last. */
  #seenBytes = 0
  #seenAt: number

  constructor(
    all: Body[],
    request: IncomingMessage,
    limits: { readonly total: number; readonly still: number; readonly pace: number },
    now: number,
    onTimeout: () => void,
  ) {
    this.onTimeout = onTimeout
    this.#all = all
    this.#request = request
    this.#limits = limits
    this.#startedAt = this.#seenAt = now
    this.#index = all.push(this) - 1
  }

  progress(bytes: number): void {
    this.#bytes += bytes
  }

  unwatch(): void {
    if (this.#index === -1) return
    // The last one takes its place, which spares a search.
    const last = this.#all.pop()
    if (last !== undefined && last !== this) {
      this.#all[this.#index] = last
      last.#index = this.#index
    }
    this.#index = -1
  }

  /** Time that does not count. */
  excuse(ms: number): void {
    this.#startedAt += ms
    this.#seenAt += ms
  }

  isLate(now: number, every: number, longest: number): boolean {
    const { total, still, pace } = this.#limits
    const window = Math.min(still || Number.POSITIVE_INFINITY, longest)
    // During a stop, which ends all of them soon, any byte will do.
    const progress = window === still ? Math.max(1, (pace * still) / 1_000) : 1
    // A handler that does not read is no fault of the sender.
    const full = this.#request.readableLength >= this.#request.readableHighWaterMark
    if (this.#bytes - this.#seenBytes >= progress || full) {
      this.#seenBytes = this.#bytes
      this.#seenAt = now
    }
    return (total > 0 && now - this.#startedAt > total + every) || now - this.#seenAt > window + every
  }
}
