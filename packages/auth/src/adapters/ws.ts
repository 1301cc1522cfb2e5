import { STATUS_CODES, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { AccessRule, Principal, PrincipalFor } from '@quintet/core'
import type { SessionEnd } from '@quintet/core/kit'
import { AuthError, Refusal } from '../errors.ts'
import { createAuthenticator, type AuthenticatorOptions } from '../http/authenticator.ts'
import { nodeFacts } from '../http/node-facts.ts'

/** The part of a WebSocket of `ws` that is needed. */
export interface AuthenticatedSocket {
  /** 2 while it closes, 3 when it is closed. */
  readonly readyState: number
  close(code: number, reason: string): void
  terminate(): void
  once(event: 'close', listener: () => void): unknown
  emit(event: string | symbol, ...values: unknown[]): boolean
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
   * Closes the WebSocket with 4401 and the reason when the principal's session ends or its token runs out. From then on
   * no message of the client reaches a listener, and a client that does not answer the close is cut off after a second.
   *
   * After a refresh the session goes on under a new token: the client has ten seconds to send it in a message of your
   * protocol, which you give to `renew`. It should do so before its token runs out as well.
   */
  guard(socket: AuthenticatedSocket, principal: Principal): GuardedSocket<Caller>
}

/** A WebSocket that is closed when its session ends. */
export interface GuardedSocket<Caller extends Principal = Principal> {
  /** The caller as the newest token says. */
  readonly principal: Caller
  /**
   * Takes over a newer access token of the same session. Resolves to the caller as it says.
   *
   * @throws AuthError as for a handshake with this token; the socket stays as it was. `ERR_AUTH_TOKEN_INVALID` when it
   *   is of another session.
   */
  renew(accessToken: string): Promise<Caller>
}

/** The close code of a WebSocket whose session has ended. */
export const sessionEndedCode = 4401

/** How long the client may take to send the token that replaces a superseded one, in milliseconds. */
const renewalTime = 10_000

/** The state of a WebSocket that has begun to close. */
const closing = 2

/** How long the client of an ended session may take to close, in milliseconds. */
const closeTimeout = 1_000

/**
 * Makes the authentication for a WebSocket server of `ws` in `noServer` mode.
 *
 * @example
 * const auth = upgradeAuth({ manager })
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
      const facts = { ...nodeFacts(request), upgrade: true }
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
        // A refused client can neither hold the connection open nor, by resetting it, raise an unhandled error.
        socket.once('finish', onError)
        socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${head}\r\n${body}`)
        return undefined
      }
    },
    guard(socket, principal) {
      let current = principal as PrincipalFor<Access>
      let watch: Disposable | undefined
      let renewal: NodeJS.Timeout | undefined
      let cutOff: NodeJS.Timeout | undefined
      let isOver = false
      function end(reason: SessionEnd): void {
        if (isOver) return
        isOver = true
        silence(socket)
        socket.close(sessionEndedCode, reason)
        cutOff = setTimeout(() => socket.terminate(), closeTimeout)
      }
      function follow(): void {
        clearTimeout(renewal)
        watch?.[Symbol.dispose]()
        watch = options.manager.watch?.(current, (reason) => {
          if (reason === 'superseded') renewal = setTimeout(() => end(reason), renewalTime)
          else end(reason)
        })
      }
      // One that has closed already says so no more.
      if (socket.readyState >= closing) isOver = true
      else follow()
      socket.once('close', () => {
        isOver = true
        clearTimeout(renewal)
        clearTimeout(cutOff)
        watch?.[Symbol.dispose]()
      })
      return {
        get principal() {
          return current
        },
        async renew(accessToken) {
          const renewed = await authenticator.admitToken(accessToken)
          const same = (['kind', 'tenantId', 'userId', 'sessionId'] as const).every(
            (name) => renewed[name] === current[name],
          )
          if (!same) {
            throw new AuthError('ERR_AUTH_TOKEN_INVALID', {
              cause: new Refusal('The new token of a WebSocket is of another session.'),
            })
          }
          current = renewed
          if (!isOver) follow()
          return renewed
        },
      }
    },
  }
}

/** Whatever listens, or will: an app may add its listener after a wait. */
function silence(socket: AuthenticatedSocket): void {
  const emit = socket.emit.bind(socket)
  socket.emit = (event, ...values) => event !== 'message' && emit(event, ...values)
}

export type { AuthenticatorOptions } from '../http/authenticator.ts'
