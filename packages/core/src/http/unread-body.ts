import type { IncomingMessage, ServerResponse } from 'node:http'

export interface UnreadBodyLimits {
  /** How much is read. @defaultValue 1 MiB */
  readonly bytes?: number
  /** How long is read, in milliseconds. @defaultValue 2000 */
  readonly ms?: number
}

/** What applies where {@link UnreadBodyLimits} says nothing. */
export const unreadBodyDefaults = Object.freeze({ bytes: 1024 * 1024, ms: 2_000 } as const)

/** Whether the head of a request announces a body. */
export function hasBody({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/**
 * Ends an answer whose request is still being sent, once the client has stopped, or has been given the time
 * to read it. Closing at once would reset the connection and take the answer with it.
 */
export function endAfterBody(
  request: IncomingMessage,
  response: ServerResponse,
  { bytes = unreadBodyDefaults.bytes, ms = unreadBodyDefaults.ms }: UnreadBodyLimits = {},
): void {
  let left = bytes
  const end = (): void => {
    clearTimeout(timer)
    request.off('data', onData).off('end', end).off('close', end)
    response.end()
  }
  const onData = (chunk: Buffer): void => {
    left -= chunk.length
    if (left < 0) end()
  }
  const timer = setTimeout(end, ms)
  request.on('data', onData).on('end', end).on('close', end)
  request.resume()
}
