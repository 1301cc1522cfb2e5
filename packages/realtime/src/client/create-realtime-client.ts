import type { ServerMessage } from '../wire/messages.ts'
import {
  resolveClientOptions,
  type RealtimeClient,
  type RealtimeClientOptions,
  type SubscribeOptions,
} from './client-options.ts'
import { createSubscriptions } from './client-subscriptions.ts'
import { createPendingRequests } from './pending-requests.ts'
import { createReconnectingSocket } from './reconnecting-socket.ts'
import { createTokenRenewal } from './token-renewal.ts'

/**
 * A client of channels, for browsers and Node. It connects at once, notices a dead network, comes back by itself with
 * every subscription where it was, and renews its token on the standing connection.
 *
 * @throws TypeError for an address or an option that makes no sense.
 *
 * @example
 * const client = createRealtimeClient({ url: 'wss://app.example/ws', token: () => session.accessToken() })
 * const room = client.subscribe('rooms/7', { onEvent: (event) => show(event), onLost: () => reload() })
 * await room.ready
 */
export function createRealtimeClient(options: RealtimeClientOptions): RealtimeClient {
  const resolved = resolveClientOptions(options)
  const { token, timeout, backoff } = resolved
  const requests = createPendingRequests(timeout, (text) => socket.send(text))
  const subscriptions = createSubscriptions({ backoff, ask: requests.ask, onUnauthenticated })
  const renewal =
    typeof token === 'function' ? createTokenRenewal(token, () => socket.token, renew) : undefined
  const socket = createReconnectingSocket(resolved, {
    onOpen: subscriptions.resume,
    onMessage: receive,
    onLost() {
      renewal?.stop()
      subscriptions.interrupt()
      requests.failAll('The connection broke.')
    },
    onClosed() {
      renewal?.stop()
      subscriptions.close()
      requests.failAll('The client is closed.')
    },
    ping: () => void requests.ask({ type: 'ping' }).catch(() => undefined),
  })

  function receive(message: ServerMessage): void {
    if (requests.settle(message)) return
    if (message.type === 'server_shutdown') socket.pauseFor(message.reconnectAfterMs)
    else if (message.type === 'expires') renewal?.expiresIn(message.expiresInMs)
    else subscriptions.receive(message)
  }

  async function renew(next: string): Promise<void> {
    await requests.ask({ type: 'renew', token: next })
    socket.token = next
  }

  /** A client that was frozen across a refresh has a valid token by now, which the server has not seen. */
  async function onUnauthenticated(): Promise<boolean> {
    if (renewal === undefined) return false
    if ((await renewal.renewNow()) === 'refused') socket.reconnect('the token was refused')
    return true
  }

  return {
    get status() {
      return socket.status
    },
    subscribe<Data>(channel: string, given: SubscribeOptions<Data>) {
      const entry = subscriptions.add(channel, given as SubscribeOptions<unknown>)
      return {
        ready: entry.ready.promise,
        get position() {
          return entry.position
        },
        unsubscribe: () => subscriptions.remove(entry),
      }
    },
    async publish(channel, data) {
      const answer = await requests.ask({ type: 'publish', channel, data })
      return answer.type === 'published' ? answer.result : undefined
    },
    renew,
    close: socket.close,
  }
}
