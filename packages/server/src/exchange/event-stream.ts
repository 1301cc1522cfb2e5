import type { ServerResponse } from 'node:http'
import { serverError } from '../errors.ts'
import { eventIdOf } from '../streams/event-id.ts'
import { toProblem } from '../problem.ts'
import { drained } from './drained.ts'
import type { Exchange } from './exchange.ts'

/** How often a quiet stream sends a comment, so that proxies keep it and a dead client is noticed, in milliseconds. */
const heartbeat = 15_000

/** How long a client may take to read the end of its stream when the process stops, in milliseconds. */
const closeTime = 2_000

/**
 * Sends a sequence as server-sent events: `data` is the JSON of one event, `id` is there where it can be
 * resumed after, an event `end` says that the sequence is over and `error` why it broke.
 *
 * What goes wrong before the first byte is answered as a plain problem document.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export async function sendEvents(
  exchange: Exchange,
  open: (onBegin: () => void) => AsyncGenerator<string, void, undefined>,
): Promise<void> {
  const { response } = exchange
  // Once the input has arrived and been found valid it is a stream, also before it has its first event.
  const events = open(() => void setImmediate(begin))
  let timer: NodeJS.Timeout | undefined
  let over = false
  const begin = (): void => {
    if (response.headersSent || response.destroyed || over) return
    const headers = exchange.headers()
    headers.push('content-type', 'text/event-stream', 'cache-control', 'no-store', 'x-accel-buffering', 'no')
    response.writeHead(200, headers)
    response.flushHeaders()
    timer = setInterval(() => response.write(':\n\n'), heartbeat).unref()
  }
  let stopped = false
  const stop = (): void => {
    stopped = true
    exchange.abort(serverError('ERR_SERVER_CLOSED', 'The server is about to stop. Resume at another one.'))
  }
  exchange.site.longAnswers.add(stop)
  try {
    for await (const text of events) {
      begin()
      if (!response.write(text)) await drained(response, response, exchange.signal)
      if (response.destroyed) break
    }
    begin()
    over = true
    response.end('event: end\ndata:\n\n')
  } catch (error) {
    over = true
    if (!response.headersSent) throw error
    const problem = toProblem(error, exchange.requestId)
    response.end(`event: error\ndata: ${JSON.stringify(problem)}\n\n`)
    if (stopped) endWithin(closeTime, response)
  } finally {
    clearInterval(timer)
    exchange.site.longAnswers.delete(stop)
  }
}

/** One event as it is written, with its id where the stream can be resumed. JSON has no `undefined`: such an event has no data. */
export function encodeEvent(event: unknown, resumable: boolean): string {
  const id = resumable ? eventIdOf(event) : undefined
  const data = (JSON.stringify(event) as string | undefined) ?? ''
  return `${id === undefined ? '' : `id: ${id}\n`}data: ${data}\n\n`
}

/** Breaks off an answer that its client does not read. */
function endWithin(ms: number, response: ServerResponse): void {
  const timer = setTimeout(() => response.destroy(), ms)
  response.once('close', () => clearTimeout(timer))
}
