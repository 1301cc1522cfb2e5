import { isQuintetError, type StopReason } from '@quintet/core'
import { toQuintetError } from '@quintet/core/kit'
import { RealtimeError } from './errors.ts'
import type { EventPosition } from './event-log.ts'

/** The subprotocol that both sides speak. */
export const realtimeProtocolName = 'quintet.realtime.v1'

/** What a client may say. `id` comes back with the answer. */
export type ClientMessage =
  | {
      readonly id: MessageId
      readonly type: 'subscribe'
      readonly channel: string
      readonly since?: EventPosition
    }
  | { readonly id: MessageId; readonly type: 'unsubscribe'; readonly channel: string }
  | { readonly id: MessageId; readonly type: 'publish'; readonly channel: string; readonly data?: unknown }
  | { readonly id: MessageId; readonly type: 'renew'; readonly token: string }
  | { readonly id: MessageId; readonly type: 'ping' }

export type MessageId = string | number

/** What the server says. */
export type ServerMessage =
  | {
      readonly id: MessageId
      readonly type: 'subscribed'
      readonly channel: string
      readonly epoch: string
      /** The position from which events follow. */
      readonly offset: number
      readonly tag: string
      /** Only where the client gave a position: whether everything since then follows. */
      readonly recovered?: boolean
      /** Only where the channel has presence: the users who are here. */
      readonly present?: readonly string[]
    }
  | { readonly id: MessageId; readonly type: 'unsubscribed'; readonly channel: string }
  | {
      readonly id: MessageId
      readonly type: 'published'
      readonly channel: string
      readonly result?: unknown
    }
  | { readonly id: MessageId; readonly type: 'renewed' }
  | { readonly id: MessageId; readonly type: 'pong' }
  | { readonly id?: MessageId; readonly type: 'error'; readonly error: WireError }
  | {
      readonly type: 'event'
      readonly channel: string
      readonly epoch: string
      readonly offset: number
      readonly tag: string
      readonly data: unknown
    }
  | {
      readonly type: 'presence'
      readonly channel: string
      readonly event: 'join' | 'leave'
      readonly user: string
    }
  /** Events between what came last and this position are missing. Subscribe again, or load afresh. */
  | {
      readonly type: 'lost'
      readonly channel: string
      readonly epoch: string
      readonly offset: number
      readonly tag: string
    }
  /** The server has ended the subscription. */
  | { readonly type: 'ended'; readonly channel: string; readonly error: WireError }
  | { readonly type: 'server_shutdown'; readonly reason: StopReason; readonly reconnectAfterMs: number }

export interface WireError {
  readonly code: string
  readonly kind: string
  readonly message: string
  readonly details?: Readonly<Record<string, unknown>>
  /** Milliseconds. */
  readonly retryAfter?: number
}

/** The event as it goes to every subscriber, written once. `data` is JSON already. */
export function eventMessage(channel: string, position: EventPosition, data: string): string {
  return `{"type":"event","channel":${JSON.stringify(channel)},"epoch":${JSON.stringify(position.epoch)},"offset":${position.offset},"tag":${JSON.stringify(position.tag)},"data":${data}}`
}

/** Only what the caller may know: the message of an internal error stays here. */
export function toWireError(thrown: unknown): WireError {
  const error = isQuintetError(thrown) ? thrown : toQuintetError(thrown)
  return {
    code: error.code,
    kind: error.kind,
    message: error.kind === 'internal' ? 'Something failed on our side.' : error.message,
    ...(error.details === undefined || error.kind === 'internal' ? {} : { details: error.details }),
    ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }),
  }
}

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
