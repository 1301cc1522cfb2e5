import type { EventEmitter } from 'node:events'

/** What carries an answer: a response of HTTP/1.1 or HTTP/2, or a stream of HTTP/2. */
interface AnswerStream extends EventEmitter {
  readonly writableEnded: boolean
  write: unknown
  end(): unknown
}

/** Whether an answer is a stream of server-sent events, which has no end of its own. */
export function isEventStream(contentType: unknown): boolean {
  return typeof contentType === 'string' && /^text\/event-stream\b/i.test(contentType)
}

/**
 * Ends an event stream; its client connects again by itself (HTML Standard, section 9.2). What the application goes on
 * writing is dropped, where Node would break the answer off with an error.
 */
export function endEventStream(stream: AnswerStream, ...others: readonly EventEmitter[]): void {
  if (stream.writableEnded) return
  for (const each of [stream, ...others]) each.on('error', () => undefined)
  stream.end()
  stream.write = (...parameters: readonly unknown[]) => {
    const done = parameters.at(-1)
    if (typeof done === 'function') process.nextTick(done)
    return true
  }
}
