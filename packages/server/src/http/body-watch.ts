import type { IncomingMessage } from 'node:http'

interface Watched {
  /** Milliseconds for the whole body; 0 for no limit. */
  readonly total: number
  /** Milliseconds without a byte while more is wanted; 0 for no limit. */
  readonly still: number
  readonly startedAt: number
  readonly onTimeout: () => void
  bytes: number
  seenBytes: number
  seenAt: number
}

/** Holds the senders of bodies to their time, with one timer for all. */
export interface BodyWatch {
  watch(request: IncomingMessage, limits: { total: number; still: number }, onTimeout: () => void): void
  unwatch(request: IncomingMessage): void
  /** To be called with each piece of a body. */
  progress(request: IncomingMessage, bytes: number): void
  close(): void
}

/** @param shortest the shortest limit that will be watched, in milliseconds; it is noticed within a quarter of that. */
export function createBodyWatch(shortest: number): BodyWatch {
  const watched = new Map<IncomingMessage, Watched>()
  const every = Math.min(1_000, Math.max(20, shortest / 4))

  // The time of the last look is near enough for the start of a body, and costs nothing.
  let now = performance.now()
  const look = (): void => {
    now = performance.now()
    for (const [request, body] of watched) {
      // A handler that does not read is no fault of the sender.
      const full = request.readableLength >= request.readableHighWaterMark
      if (body.bytes !== body.seenBytes || full) {
        body.seenBytes = body.bytes
        body.seenAt = now
      }
      const late = body.total > 0 && now - body.startedAt > body.total + every
      const stands = body.still > 0 && now - body.seenAt > body.still + every
      if (!late && !stands) continue
      watched.delete(request)
      body.onTimeout()
    }
  }
  const timer = setInterval(look, every).unref()

  return {
    watch(request, { total, still }, onTimeout) {
      watched.set(request, { total, still, startedAt: now, onTimeout, bytes: 0, seenBytes: 0, seenAt: now })
    },
    unwatch(request) {
      watched.delete(request)
    },
    progress(request, bytes) {
      const body = watched.get(request)
      if (body !== undefined) body.bytes += bytes
    },
    close() {
      clearInterval(timer)
    },
  }
}
