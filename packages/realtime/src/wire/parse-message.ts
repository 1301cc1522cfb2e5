import { RealtimeError } from '../errors.ts'
import type { EventPosition } from './event-position.ts'
import type { ClientMessage, MessageId } from './messages.ts'

/**
 * Reads a client's message. The data of a `publish` is not looked at.
 *
 * @throws RealtimeError `ERR_REALTIME_BAD_MESSAGE`; `id` is that of the message where it had one.
 */
export function parseClientMessage(text: string): ClientMessage {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw bad('The message is not JSON.')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad('The message is not an object.')
  const message = value as Record<string, unknown>
  const id = messageId(message)
  if (id === undefined)
    throw bad('The message has no id, which must be a number or a text of at most 64 characters.')
  switch (message['type']) {
    case 'ping':
      return { id, type: 'ping' }
    case 'renew':
      if (typeof message['token'] !== 'string') throw bad('The token must be a text.', id)
      return { id, type: 'renew', token: message['token'] }
    case 'subscribe': {
      const since = readPosition(message['since'], id)
      return { id, type: 'subscribe', channel: readChannel(message, id), ...(since ? { since } : {}) }
    }
    case 'unsubscribe':
      return { id, type: 'unsubscribe', channel: readChannel(message, id) }
    case 'publish':
      return { id, type: 'publish', channel: readChannel(message, id), data: message['data'] }
    default:
      throw bad("The type must be 'subscribe', 'unsubscribe', 'publish', 'renew' or 'ping'.", id)
  }
}

/** A message that cannot be read, with the id under which the client waits for an answer. */
export class BadMessage extends RealtimeError {
  readonly id: MessageId | undefined

  constructor(message: string, id: MessageId | undefined) {
    super('ERR_REALTIME_BAD_MESSAGE', message)
    this.id = id
  }
}

function bad(message: string, id?: MessageId): BadMessage {
  return new BadMessage(message, id)
}

function messageId(message: Record<string, unknown>): MessageId | undefined {
  const id = message['id']
  return (typeof id === 'number' && Number.isFinite(id)) || (typeof id === 'string' && id.length <= 64)
    ? id
    : undefined
}

function readChannel(message: Record<string, unknown>, id: MessageId): string {
  const channel = message['channel']
  if (typeof channel !== 'string') throw bad('The channel must be a text.', id)
  return channel
}

function readPosition(value: unknown, id: MessageId): EventPosition | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'object' && value !== null) {
    const { epoch, offset, tag } = value as Record<string, unknown>
    if (isShortText(epoch) && isShortText(tag) && Number.isSafeInteger(offset) && (offset as number) >= 0) {
      return { epoch, offset: offset as number, tag }
    }
  }
  throw bad('since must be a position as it came with an event: { epoch, offset, tag }.', id)
}

function isShortText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 64
}
