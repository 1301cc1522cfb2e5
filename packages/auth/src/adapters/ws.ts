import { STATUS_CODES, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { AccessRule, Principal, PrincipalFor } from '@quintet/core'
import type { SessionEnd } from '@quintet/core/kit'
import { createAuthenticator, type AuthenticatorOptions } from '../http/authenticator.ts'
import { nodeFacts } from '../http/node-facts.ts'

/** The part of a WebSocket of `ws` that is needed. */
export interface AuthenticatedSocket {
  close(code: number, reason: string): void
  terminate(): void
  once(event: 'close', listener: () => void): unknown
  removeAllListeners(event: 'message'): unknown
}

/** Authenticates WebSocket handshakes, and closes sockets when their sessions end. */
export interface UpgradeAuth<Caller extends Principal = Principal> {
  /**
   * Authenticates a handshake, before `handleUpgrade`. Undefined when it was refused: the answer has been sent and
   * the socket is closed. The token comes in the `Authorization` header, in a subprotocol entry
   * `bearer.<token>`, or in the cookie.
   */
  admit(request: IncomingMessage, socket: Duplex): Promise<Caller | undefined>
  /**
   * Closes the WebSocket with 4401 and the reason when the principal's session ends. From then on no message of the
   * client reaches a listener, and a client that does not answer the close is cut off after a second.
   */
  guard(socket: AuthenticatedSocket, principal: Principal): void
}

/** The close code of a WebSocket whose session has ended. */
export const sessionEndedCode = 4401

/** How long the client of an ended session may take to close, in milliseconds. */
const closeTimeout = 1_000

/**
 * Makes the authentication for a WebSocket server of `ws` in `noServer` mode.
 *
 * @example
 * server.on('upgrade', async (request, socket, head) => {
 *   const principal = await auth.admit(request, socket)
 *   if (principal) sockets.handleUpgrade(request, socket, head, (ws) => auth.guard(ws, principal))
 * })
 */
export function upgradeAuth<const Access extends AccessRule = 'authenticated'>(
  options: AuthenticatorOptions<Access>,
): UpgradeAuth<PrincipalFor<Access>> {
  const authenticator = createAuthenticator(options, 'upgradeAuth')
  return {
    async admit(request, socket) {
      const facts = nodeFacts(request, { upgrade: true })
      const onError = (): void => void socket.destroy()
      socket.on('error', onError)
      try {
        const principal = await authenticator.admit(facts)
        if (socket.destroyed) return undefined
        socket.off('error', onError)
        return principal
      } catch (error) {
        const { status, headers, body } = authenticator.refuse(error, facts)
        const lines = Object.entries({
          ...headers,
          'content-length': Buffer.byteLength(body),
          connection: 'close',
        })
        const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
        // Whoever is refused may neither hold the connection open nor, by resetting it, find nobody to handle that.
        socket.once('finish', onError)
        socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${head}\r\n${body}`)
        return undefined
      }
    },
    guard(socket, principal) {
      let cutOff: NodeJS.Timeout | undefined
      const watch = options.manager.watch?.(principal, (end: SessionEnd) => {
        socket.removeAllListeners('message')
        socket.close(sessionEndedCode, end)
        cutOff = setTimeout(() => socket.terminate(), closeTimeout)
      })
      socket.once('close', () => {
        clearTimeout(cutOff)
        watch?.[Symbol.dispose]()
      })
    },
  }
}

export type { AuthenticatorOptions } from '../http/authenticator.ts'
