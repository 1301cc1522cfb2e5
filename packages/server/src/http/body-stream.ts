import type { IncomingMessage } from 'node:http'

/**
 * The body of a message as a stream that takes from the connection only what its reader asks for: no
 * piece is copied, and at most one waits.
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
          if ((controller.desiredSize ?? 0) <= 0) incoming.pause()
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
    { highWaterMark: 0 },
  )
}
