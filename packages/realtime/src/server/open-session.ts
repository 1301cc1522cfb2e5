import type { StopReason } from '@quintet/core'
import { findChannel } from '../channel/find-channel.ts'
import { RealtimeError } from '../errors.ts'
import { publishedMessage, type ClientMessage, type MessageId, type ServerMessage } from '../wire/messages.ts'
import { BadMessage, parseClientMessage } from '../wire/parse-message.ts'
import { toWireError } from '../wire/to-wire-error.ts'
import { createChannelCalls } from './channel-calls.ts'
import type { ResolvedChannelsOptions } from './channels-options.ts'
import type { RealtimeConnection, RealtimeHost } from './connection.ts'
import { createMessageQueue } from './message-queue.ts'
import { publishMessage } from './publish-message.ts'
import type { RealtimeSession } from './realtime-session.ts'
import type { SessionHost } from './session-host.ts'
import { createSessionSubscriptions } from './session-subscriptions.ts'

/** A message that takes its turn. */
type Request = Exclude<ClientMessage, { readonly type: 'ping' }>

export function openSession(
  connection: RealtimeConnection,
  engine: SessionHost,
  options: ResolvedChannelsOptions,
  host: RealtimeHost,
  onClosed: () => void,
): RealtimeSession {
  const calls = createChannelCalls(connection, host)
  const subscriptions = createSessionSubscriptions({ connection, engine, options, calls, send })
  const queue = createMessageQueue()
  const publishing = { calls, redis: engine.redis, prefix: options.prefix, services: host.services }
  let isStopping = false
  let isClosed = false

  function send(message: ServerMessage): void {
    connection.send(JSON.stringify(message))
  }

  function sendError(id: MessageId | undefined, error: unknown): void {
    send({ type: 'error', ...(id === undefined ? {} : { id }), error: toWireError(error) })
  }

  function tellExpiry(): void {
    const { principal } = connection
    if (principal.kind === 'user' && principal.expiresAt !== null)
      send({ type: 'expires', expiresInMs: Math.max(0, principal.expiresAt - Date.now()) })
  }

  function receive(text: string): void {
    let message: ClientMessage
    try {
      message = parseClientMessage(text)
    } catch (error) {
      sendError(error instanceof BadMessage ? error.id : undefined, error)
      return
    }
    if (message.type === 'ping') send({ id: message.id, type: 'pong' })
    else take(message, text)
  }

  function take(message: Request, text: string): void {
    const refusal = refuse()
    if (refusal) {
      sendError(message.id, refusal)
      return
    }
    queue.add(message.type === 'renew' ? '' : message.channel, async () => {
      if (isClosed) return
      try {
        await answer(message, text)
      } catch (error) {
        sendError(message.id, error)
      }
    })
  }

  function refuse(): RealtimeError | undefined {
    if (isStopping) return new RealtimeError('ERR_REALTIME_CLOSED', 'The server is about to stop.')
    if (queue.length < options.maxPending) return undefined
    const message = `More than ${options.maxPending} messages are in progress.`
    return new RealtimeError('ERR_REALTIME_TOO_MANY', message)
  }

  async function answer(message: Request, text: string): Promise<void> {
    switch (message.type) {
      case 'renew':
        return renew(message.id, message.token)
      case 'subscribe':
        return subscriptions.subscribe(message.id, message.channel, message.since)
      case 'unsubscribe':
        subscriptions.unsubscribe(message.id, message.channel)
        return
      case 'publish':
        return publish(message.id, message.channel, message.data, text)
    }
  }

  async function renew(id: MessageId, token: string): Promise<void> {
    if (!connection.renew) {
      throw new RealtimeError(
        'ERR_REALTIME_BAD_MESSAGE',
        'The token of this connection cannot be renewed. Connect again.',
      )
    }
    await connection.renew(token)
    send({ id, type: 'renewed' })
    tellExpiry()
  }

  async function publish(id: MessageId, name: string, data: unknown, text: string): Promise<void> {
    const found = findChannel(options.channels, name)
    const result = await publishMessage(publishing, found, data, Buffer.byteLength(text))
    connection.send(publishedMessage(id, name, result))
  }

  tellExpiry()
  return {
    message(data) {
      if (isClosed) return
      if (typeof data === 'string') receive(data)
      else
        sendError(undefined, new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'Messages are text, not binary.'))
    },
    rechecks: subscriptions.rechecks,
    notifyShutdown(reason: StopReason, reconnectAfterMs: number) {
      isStopping = true
      send({ type: 'server_shutdown', reason, reconnectAfterMs })
    },
    whenIdle: queue.whenIdle,
    closed() {
      if (isClosed) return
      isClosed = true
      subscriptions.close()
      onClosed()
    },
  }
}
