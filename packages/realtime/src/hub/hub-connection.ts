import type { AuthManager, Principal } from '@quintet/core'
import type { Credentials, SessionEnd } from '@quintet/core/kit'
import { randomUUID } from 'node:crypto'
import { closeCode } from '@quintet/core/http'
import type { WebSocket } from 'ws'
import type { RealtimeConnection } from '../server/connection.ts'
import { RealtimeError } from '../errors.ts'

/** How long a client that has not read may take to read the close frame, in milliseconds. */
const closeGrace = 2_000
/** How long a client may take to bring the new token after its old one was replaced, in milliseconds. */
const renewalTime = 10_000
const longestTimer = 2_147_483_647

export interface HubConnectionSetup {
  readonly socket: WebSocket
  readonly principal: Principal
  readonly credentials: Credentials
  readonly auth: AuthManager | undefined
  /** Checks credentials as at the handshake. */
  readonly authorize: (credentials: Credentials, signal: AbortSignal) => Promise<Principal>
}

/** A connection of the hub. It is closed when the session of its user ends or its token runs out. */
export interface HubConnection extends RealtimeConnection {
  /** To be called when the socket has closed. */
  closed(): void
}

export function createHubConnection({
  socket,
  auth,
  authorize,
  ...first
}: HubConnectionSetup): HubConnection {
  const controller = new AbortController()
  let { principal, credentials } = first
  let watching: Disposable | undefined
  let expiry: NodeJS.Timeout | undefined
  let renewal: NodeJS.Timeout | undefined
  let cut: NodeJS.Timeout | undefined

  function end(reason: string): void {
    socket.close(closeCode.sessionEnded, reason)
  }

  function onSessionEnd(reason: SessionEnd): void {
    // The session goes on under a newer token, which the client may be about to bring.
    if (reason === 'superseded') renewal = setTimeout(end, renewalTime, reason)
    else end(reason)
  }

  function follow(): void {
    stopFollowing()
    watching = auth?.watch?.(principal, onSessionEnd)
    if (principal.kind !== 'user' || principal.expiresAt === null) return
    const left = Math.max(0, principal.expiresAt - Date.now())
    // What runs out in more than 24 days is checked with the next message anyway.
    if (left < longestTimer) expiry = setTimeout(end, left, 'expired')
  }

  function stopFollowing(): void {
    clearTimeout(expiry)
    clearTimeout(renewal)
    watching?.[Symbol.dispose]()
  }

  follow()
  return {
    id: randomUUID(),
    signal: controller.signal,
    get principal() {
      return principal
    },
    get credentials() {
      return credentials
    },
    get bufferedBytes() {
      return socket.bufferedAmount
    },
    send(message) {
      if (socket.readyState !== socket.OPEN) return false
      socket.send(message)
      return true
    },
    async renew(token) {
      const next: Credentials = { scheme: 'bearer', token }
      const renewed = await authorize(next, controller.signal)
      const same =
        renewed.kind === principal.kind &&
        renewed.userId === principal.userId &&
        renewed.tenantId === principal.tenantId &&
        renewed.sessionId === principal.sessionId
      if (!same)
        throw new RealtimeError('ERR_REALTIME_FORBIDDEN', 'The new token belongs to another session.')
      principal = renewed
      credentials = next
      follow()
    },
    close(code, reason) {
      socket.close(code, reason)
      // The close frame of a client that does not read waits behind all the rest.
      if (socket.bufferedAmount > 0) cut ??= setTimeout(() => socket.terminate(), closeGrace)
    },
    closed() {
      clearTimeout(cut)
      stopFollowing()
      controller.abort(new DOMException('The connection closed.', 'AbortError'))
    },
  }
}
