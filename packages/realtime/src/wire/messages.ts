import type { StopReason } from '@quintet/core'
import type { EventPosition } from './event-position.ts'
import type { WireError } from './wire-error.ts'

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
  /** When the token of the connection runs out: right after the start, and after each renewal. */
  | { readonly type: 'expires'; readonly expiresInMs: number }
  | { readonly type: 'server_shutdown'; readonly reason: StopReason; readonly reconnectAfterMs: number }

/** The event as it goes to every subscriber, written once. `data` is JSON already. */
export function eventMessage(channel: string, position: EventPosition, data: string): string {
  return `{"type":"event","channel":${JSON.stringify(channel)},"epoch":${JSON.stringify(position.epoch)},"offset":${position.offset},"tag":${JSON.stringify(position.tag)},"data":${data}}`
}

/** The answer to a `publish`. `result` is JSON already; undefined for none. */
export function publishedMessage(id: MessageId, channel: string, result: string | undefined): string {
  const rest = result === undefined ? '' : `,"result":${result}`
  return `{"id":${JSON.stringify(id)},"type":"published","channel":${JSON.stringify(channel)}${rest}}`
}
