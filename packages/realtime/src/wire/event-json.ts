import { RealtimeError } from '../errors.ts'

/**
 * An event as JSON.
 *
 * @param maxSize in bytes of UTF-8.
 * @throws RealtimeError `ERR_REALTIME_BAD_MESSAGE` for what JSON cannot hold, `ERR_REALTIME_TOO_LARGE`
 */
export function toEventJson(event: unknown, maxSize: number): string {
  let text: string | undefined
  let cause: unknown
  try {
    text = JSON.stringify(event)
  } catch (error) {
    cause = error
  }
  if (text === undefined)
    throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'The event cannot be written as JSON.', { cause })
  if (Buffer.byteLength(text) > maxSize)
    throw new RealtimeError('ERR_REALTIME_TOO_LARGE', `The event is larger than ${maxSize} bytes.`)
  return text
}
