/** What may stand in a line of an event stream and come back as a header as it was. */
const idPattern = /^[^\p{Cc}\s](?:[^\p{Cc}]*[^\p{Cc}\s])?$/u

/**
 * The id under which a client can resume a stream after this event: the event's own member `id`, when it is a number,
 * or a string of one line without spaces around it. A stream whose events have none cannot be resumed.
 */
export function eventIdOf(event: unknown): string | undefined {
  if (typeof event !== 'object' || event === null || !('id' in event)) return undefined
  const { id } = event
  if (typeof id === 'number') return String(id)
  return typeof id === 'string' && id.isWellFormed() && idPattern.test(id) ? id : undefined
}

/**
 * An id as the value of `Last-Event-ID`: its UTF-8, each byte a character, as browsers send it.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header
 */
export function toEventIdHeader(id: string): string {
  return String.fromCharCode(...new TextEncoder().encode(id))
}

/** The id of a `Last-Event-ID` header; one that is no UTF-8 is taken as it is. */
export function fromEventIdHeader(value: string): string {
  if (!/[\x80-\xff]/.test(value)) return value
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(
      Uint8Array.from(value, (char) => char.charCodeAt(0)),
    )
  } catch {
    return value
  }
}
