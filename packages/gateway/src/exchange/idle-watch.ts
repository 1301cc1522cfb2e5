import type { Socket } from 'node:net'

/** What the system has queued of a write, which Node counts as buffered until all of it is taken; see `net.Socket`. */
interface WithWriteQueue {
  readonly _handle?: { readonly writeQueueSize?: number } | null
}

/** Measures for how long an exchange has stood still: it moves as long as a byte moves in either direction. */
export class IdleWatch {
  #movedAt = performance.now()
  #received = 0
  #unsent = 0

  /**
   * For how long nothing has moved, in milliseconds.
   *
   * @param now time of the monotonic clock
   * @param received how many bytes have been read from either side
   * @param unsent how many are still to be taken by either side
   */
  idleFor(now: number, received: number, unsent: number): number {
    if (received !== this.#received || unsent !== this.#unsent) this.#movedAt = now
    this.#received = received
    this.#unsent = unsent
    return now - this.#movedAt
  }

  /** What waits for others does not stand still. */
  excuse(now: number): void {
    this.#movedAt = now
  }
}

/** How many bytes a socket holds that the system has not taken. A slow reader is seen by this alone to read at all. */
export function unsentOn(socket: Socket | null | undefined): number {
  if (!socket) return 0
  return socket.writableLength + ((socket as WithWriteQueue)._handle?.writeQueueSize ?? 0)
}
