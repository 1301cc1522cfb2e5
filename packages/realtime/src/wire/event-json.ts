import { RealtimeError } from '../errors.ts'

/** @throws RealtimeError `ERR_REALTIME_BAD_MESSAGE` for what JSON cannot hold. */
export function toJson(event: unknown): string {
  let text: string | undefined
  let cause: unknown
  try {
    text = JSON.stringify(event)
  } catch (error) {
    cause = error
  }
  if (text === undefined)
    throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'The event cannot be written as JSON.', { cause })
  return text
}
