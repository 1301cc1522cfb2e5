import type { IncomingMessage, ServerResponse } from 'node:http'

/** How long the rest of a request is read, and how long it may stand still meanwhile, in milliseconds. */
const lingerMs = 30_000
const silenceMs = 2_000

/**
 * Lingering close: ends an answer that has been written while its request is still being sent, once the client has sent
 * it all. Many clients read nothing before that, and a connection that is closed with unread bytes is reset, which takes
 * the answer with it.
 */
export function endLingering(request: IncomingMessage, response: ServerResponse): void {
  const end = (): void => {
    clearTimeout(whole)
    clearTimeout(silence)
    request.off('data', onData).off('end', end).off('close', end)
    response.end()
  }
  const onData = (): void => void silence.refresh()
  const whole = setTimeout(end, lingerMs)
  const silence = setTimeout(end, silenceMs)
  request.on('data', onData).on('end', end).on('close', end)
  request.resume()
}
