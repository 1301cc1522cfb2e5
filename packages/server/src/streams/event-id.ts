/**
 * The id under which a client can resume a stream after this event: the event's own member `id`, when it
 * is a string or a number that fits one line. A stream whose events have none cannot be resumed.
 */
export function eventIdOf(event: unknown): string | undefined {
  if (typeof event !== 'object' || event === null || !('id' in event)) return undefined
  const { id } = event
  if (typeof id === 'number') return String(id)
  return typeof id === 'string' && id !== '' && !/[\r\n\0]/.test(id) ? id : undefined
}
