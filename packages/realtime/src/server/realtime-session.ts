import type { SocketSession } from '@quintet/core/kit'

/** The conversation on one connection. */
export interface RealtimeSession extends SocketSession {
  /** Resolves when no message is in progress. */
  whenIdle(): Promise<void>
  /** One check for each subscription, which asks again whether it is still allowed and ends it where it is not. */
  rechecks(): readonly (() => Promise<void>)[]
}
