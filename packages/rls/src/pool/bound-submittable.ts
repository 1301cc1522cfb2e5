import { AsyncLocalStorage } from 'node:async_hooks'
import { bindCallback } from '../context/rls-context.ts'

/** A cursor, query stream or COPY stream: something that pg lets write to the connection by itself. */
export interface Submittable {
  submit(connection: unknown): void
  handleReadyForQuery?(connection: unknown): void
  handleError?(error: Error, connection: unknown): void
  emit?(event: 'error', error: unknown): boolean
  callback?: unknown
}

/** What the driver calls on a submittable, and with what it tells its listeners. */
export const calledByDriver = [
  'emit',
  'callback',
  'handleRowDescription',
  'handleDataRow',
  'handlePortalSuspended',
  'handleCommandComplete',
  'handleReadyForQuery',
  'handleEmptyQuery',
  'handleError',
  'handleCopyInResponse',
  'handleCopyData',
]

/** Methods that take a callback: of cursors and of streams. */
const takingCallbacks = ['read', 'close', 'write', 'end']

type Method = (...args: unknown[]) => unknown

/**
 * Binds a cursor or stream to the async context of the calling code: its events reach listeners there, and
 * a callback given to one of its methods runs where it was given.
 */
export function bindSubmittable(submittable: Submittable): void {
  const members = submittable as unknown as Record<string, unknown>
  const within = AsyncLocalStorage.snapshot()
  for (const name of calledByDriver) {
    const method = members[name]
    if (typeof method !== 'function') continue
    members[name] = function (this: unknown, ...args: unknown[]) {
      return within(() => (method as Method).apply(this, args))
    }
  }
  for (const name of takingCallbacks) {
    const method = members[name]
    if (typeof method !== 'function') continue
    members[name] = function (this: unknown, ...args: unknown[]) {
      return (method as Method).apply(this, args.map(bindCallback))
    }
  }
}
