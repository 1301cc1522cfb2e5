import type { SocketSession } from '@quintet/core/kit'

/** The conversation on one connection. */
export interface RealtimeSession extends SocketSession {
  /** Resolves when no message is in progress. */
  whenIdle(): Promise<void>
  /** Asks again whether every subscription is still allowed, and ends those that are not. */
  recheck(): Promise<void>
}
