import type { Duplex } from 'node:stream'
import type { StopReason } from '@quintet/core'
import { closeCode, closeFrame, textFrame } from '@quintet/core/http'
import { createFrameTracker } from './frame-tracker.ts'

/** How long a client may take to answer the close frame, and either side to close after the other, before it is cut. */
const closeGraceMs = 3_000

/** Why a WebSocket is ended by the gateway. */
export type CloseReason = StopReason | 'maintenance'

/** An open WebSocket through the gateway: two sockets and nothing in between but back-pressure. */
export interface Tunnel {
  /** Tells the client that the server goes away and closes with 1001, at the next end of a frame. */
  goAway(reason: CloseReason, reconnectAfterMs: number): void
  destroy(): void
}

/**
 * Joins two upgraded sockets until both are closed.
 *
 * @param protocol the negotiated subprotocol; only those of Quintet (`quintet.*`) know the shutdown notice.
 */
export function openTunnel(
  client: Duplex,
  upstream: Duplex,
  protocol: string | undefined,
  onClosed: () => void,
): Tunnel {
  const tracker = createFrameTracker()
  let goingAway: { readonly notice: Buffer | undefined; readonly close: Buffer } | undefined
  let left = false
  let open = 2
  let graceTimer: NodeJS.Timeout | undefined

  function forward(chunk: Buffer): void {
    if (left) return
    if (!goingAway) {
      tracker.follow(chunk)
      write(chunk)
      return
    }
    const end = tracker.follow(chunk, true)
    write(chunk.subarray(0, end))
    sendGoingAway()
  }

  function sendGoingAway(): void {
    if (left || !goingAway || !tracker.betweenFrames || client.destroyed) return
    left = true
    // A message may not stand amid the fragments of another; the close frame may.
    if (goingAway.notice && tracker.betweenMessages) client.write(goingAway.notice)
    client.write(goingAway.close)
    upstream.resume()
  }

  function write(chunk: Buffer): void {
    if (!client.write(chunk)) upstream.pause()
  }

  function end(other: Duplex): () => void {
    return () => {
      // What was written is still flushed, then the other side closes as well.
      other.end()
      other.resume()
      open -= 1
      if (open === 0) {
        clearTimeout(graceTimer)
        onClosed()
      } else setTimeout(() => other.destroy(), 1_000).unref()
    }
  }

  /** One side sends no more: what the other still has to say is read for a while. */
  function halfClose(): void {
    client.end()
    upstream.end()
    graceTimer ??= setTimeout(destroy, closeGraceMs)
  }

  upstream.on('data', forward)
  upstream.on('end', halfClose)
  client.on('end', halfClose)
  client.on('drain', () => upstream.resume())
  client.pipe(upstream)
  client.on('error', () => upstream.destroy())
  upstream.on('error', () => client.destroy())
  client.on('close', end(upstream))
  upstream.on('close', end(client))

  function destroy(): void {
    client.destroy()
    upstream.destroy()
  }

  return {
    goAway(reason, reconnectAfterMs) {
      if (goingAway) return
      const notice = JSON.stringify({ type: 'server_shutdown', reason, reconnectAfterMs })
      goingAway = {
        notice: protocol?.startsWith('quintet.') ? textFrame(notice) : undefined,
        close: closeFrame(closeCode.goingAway, reason),
      }
      sendGoingAway()
      graceTimer ??= setTimeout(destroy, closeGraceMs)
    },
    destroy,
  }
}
