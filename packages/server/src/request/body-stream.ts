import type { IncomingMessage } from 'node:http'

/** How many bytes may wait for their reader. To stop a connection and start it again costs more than a piece does. */
const waitingBytes = 256 * 1024

/**
 * The body of a message as a stream that begins to take from the connection when its reader asks, and pauses it
 * when the reader falls behind. No piece is copied.
 */
export function toBodyStream(incoming: IncomingMessage, onRead: () => void): ReadableStream<Uint8Array> {
  let settled = false
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        incoming.pause()
        incoming.on('data', (piece: Buffer) => {
          if (settled) return
          controller.enqueue(piece)
          if ((controller.desiredSize ?? 0) <= -waitingBytes) incoming.pause()
        })
        incoming.on('end', () => {
          if (settled) return
          settled = true
          controller.close()
        })
        incoming.on('close', () => {
          if (settled) return
          settled = true
          controller.error(
            new DOMException('The client went away before its body was complete.', 'AbortError'),
          )
        })
      },
      pull() {
        onRead()
        incoming.resume()
      },
      cancel() {
        settled = true
        // What still arrives is read away, so that the answer can be sent.
        incoming.resume()
      },
    },
    { highWaterMark: 0, size: (piece) => piece.length },
  )
}
