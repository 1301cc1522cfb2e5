import { randomUUID } from 'node:crypto'
import { type Invocation, isQuintetError, type StopReason } from '@quintet/core'
import { type Operation, validate } from '@quintet/core/kit'
import { assertChannelName } from '../channel/channel-pattern.ts'
import type { Channel } from '../channel/channel.ts'
import type { RealtimeConnection, RealtimeHost } from './connection.ts'
import type { RealtimeSession } from './realtime-session.ts'
import type { SessionHost } from './session-host.ts'
import { RealtimeError } from '../errors.ts'
import { publishEvent, readEvents } from '../topic/event-log.ts'
import type { ResolvedChannelsOptions } from './channels-options.ts'
import { createSubscription, type Subscription } from './subscription.ts'
import { topicKeys } from '../topic/topic-keys.ts'
import { type ClientMessage, type MessageId, type ServerMessage } from '../wire/messages.ts'
import type { EventPosition } from '../wire/event-position.ts'
import { findChannel } from '../channel/find-channel.ts'
import { toJson } from '../wire/event-json.ts'
import { BadMessage, parseClientMessage } from '../wire/parse-message.ts'
import { toWireError } from '../wire/to-wire-error.ts'

type Params = Readonly<Record<string, string>>

export function openSession(
  connection: RealtimeConnection,
  engine: SessionHost,
  options: ResolvedChannelsOptions,
  host: RealtimeHost,
  onClosed: () => void,
): RealtimeSession {
  const subscriptions = new Map<string, Subscription>()
  /** What is in progress on a channel, so that the messages of a client on one channel keep their order. */
  const queues = new Map<string, Promise<void>>()
  /** Those whose check is in progress. */
  const checking = new Set<Subscription>()
  let pending = 0
  let onIdle: (() => void)[] = []
  let isClosed = false

  function send(message: ServerMessage): void {
    connection.send(JSON.stringify(message))
  }

  function tellExpiry(): void {
    const { principal } = connection
    if (principal.kind === 'user' && principal.expiresAt !== null)
      send({ type: 'expires', expiresInMs: Math.max(0, principal.expiresAt - Date.now()) })
  }

  function sendError(id: MessageId | undefined, error: unknown): void {
    send({ type: 'error', ...(id === undefined ? {} : { id }), error: toWireError(error) })
  }

  function receive(text: string): void {
    let message: ClientMessage
    try {
      message = parseClientMessage(text)
    } catch (error) {
      sendError(error instanceof BadMessage ? error.id : undefined, error)
      return
    }
    if (message.type === 'ping') {
      send({ id: message.id, type: 'pong' })
      return
    }
    if (pending >= options.maxPending) {
      sendError(
        message.id,
        new RealtimeError(
          'ERR_REALTIME_TOO_MANY',
          `More than ${options.maxPending} messages are in progress.`,
        ),
      )
      return
    }
    pending += 1
    const queue = message.type === 'renew' ? '' : message.channel
    const work = (queues.get(queue) ?? Promise.resolve())
      .then(() => answer(message, text))
      .catch((error: unknown) => sendError(message.id, error))
      .finally(() => {
        pending -= 1
        if (queues.get(queue) === work) queues.delete(queue)
        if (pending === 0) for (const resolve of onIdle.splice(0)) resolve()
      })
    queues.set(queue, work)
  }

  async function answer(message: Exclude<ClientMessage, { type: 'ping' }>, text: string): Promise<void> {
    if (isClosed) return
    switch (message.type) {
      case 'renew':
        if (!connection.renew)
          throw new RealtimeError(
            'ERR_REALTIME_BAD_MESSAGE',
            'The token of this connection cannot be renewed. Connect again.',
          )
        await connection.renew(message.token)
        send({ id: message.id, type: 'renewed' })
        tellExpiry()
        return
      case 'subscribe':
        return subscribe(message.id, message.channel, message.since)
      case 'unsubscribe': {
        assertChannelName(message.channel)
        const subscription = subscriptions.get(message.channel)
        if (!subscription)
          throw new RealtimeError(
            'ERR_REALTIME_NOT_SUBSCRIBED',
            `There is no subscription to ${JSON.stringify(message.channel)}.`,
          )
        end(message.channel, subscription)
        send({ id: message.id, type: 'unsubscribed', channel: message.channel })
        return
      }
      case 'publish':
        return publish(message.id, message.channel, message.data, text)
    }
  }

  async function subscribe(id: MessageId, name: string, since: EventPosition | undefined): Promise<void> {
    assertChannelName(name)
    const { channel, params } = findChannel(options.channels, name)
    await run(channel.subscribe, async (invocation) => {
      await authorize(channel, name, params, invocation)
      const earlier = subscriptions.get(name)
      if (earlier) end(name, earlier)
      if (subscriptions.size >= options.maxSubscriptions) {
        throw new RealtimeError(
          'ERR_REALTIME_SUBSCRIPTION_LIMIT',
          `A connection takes at most ${options.maxSubscriptions} subscriptions.`,
        )
      }
      const topic = engine.topic(channel, tenantOf(channel, invocation), name)
      const subscription = createSubscription(
        topic,
        invocation.principal.userId,
        connection,
        options.slowConsumer,
      )
      topic.add(subscription)
      subscriptions.set(name, subscription)
      try {
        await topic.open.catch((cause: unknown) => {
          throw new RealtimeError(
            'ERR_REALTIME_UNAVAILABLE',
            'The channel cannot be reached now. Try again shortly.',
            { retryAfter: 1_000, cause },
          )
        })
        const present = channel.presence ? await engine.arrive(subscription, connection.id) : undefined
        const { head, recovered, events } = await readEvents(
          engine.redis,
          topic.keys,
          channel.history,
          since,
          options.maxReplay,
        )
        if (isClosed || invocation.signal.aborted)
          throw invocation.signal.reason ?? new RealtimeError('ERR_REALTIME_CLOSED', 'The connection closed.')
        const from = since && recovered ? since : head
        send({
          id,
          type: 'subscribed',
          channel: name,
          ...from,
          ...(since ? { recovered } : {}),
          ...(present ? { present } : {}),
        })
        subscription.start(from, events)
      } catch (error) {
        end(name, subscription)
        throw error
      }
    })
  }

  async function publish(id: MessageId, name: string, data: unknown, text: string): Promise<void> {
    assertChannelName(name)
    const { channel, params } = findChannel(options.channels, name)
    const { send: operation, message: schema } = channel
    // Who may not even listen is told that, not what else the channel lacks.
    if (!operation || !schema) {
      await run(channel.subscribe, (invocation) => authorize(channel, name, params, invocation))
      throw new RealtimeError('ERR_REALTIME_NO_MESSAGES', `Clients cannot send to ${JSON.stringify(name)}.`)
    }
    const result = await host.pipeline.run(
      { operation, credentials: connection.credentials, requestId: randomUUID(), signal: connection.signal },
      {
        input: () => {
          if (Buffer.byteLength(text) > channel.maxMessageSize) {
            throw new RealtimeError(
              'ERR_REALTIME_TOO_LARGE',
              `The message is larger than ${channel.maxMessageSize} bytes.`,
            )
          }
          return validate(schema, data)
        },
        handle: async (input, invocation) => {
          await authorize(channel, name, params, invocation)
          const keys = topicKeys(options.prefix, tenantOf(channel, invocation), name)
          const toAll = (event: unknown): Promise<EventPosition> =>
            publishEvent(engine.redis, keys, channel.history, toJson(event))
          if (!channel.onMessage) {
            await toAll(input)
            return undefined
          }
          const call = {
            data: input,
            principal: invocation.principal,
            params,
            channel: name,
            services: host.services,
            signal: invocation.signal,
            requestId: invocation.requestId,
            logger: invocation.logger,
            publish: toAll,
          }
          return channel.onMessage(call as never)
        },
      },
    )
    send({ id, type: 'published', channel: name, ...(result === undefined ? {} : { result }) })
  }

  /** Takes a call through the pipeline, with the credentials as they are now. */
  function run<Result>(
    operation: Operation,
    handle: (invocation: Invocation) => Promise<Result>,
  ): Promise<Result> {
    return host.pipeline.run(
      { operation, credentials: connection.credentials, requestId: randomUUID(), signal: connection.signal },
      { input: () => undefined, handle: (_input, invocation) => handle(invocation) },
    )
  }

  async function authorize(
    channel: Channel,
    name: string,
    params: Params,
    invocation: Invocation,
  ): Promise<void> {
    tenantOf(channel, invocation)
    if (channel.presence && invocation.principal.userId === null) throw forbidden(name)
    if (!channel.authorize) return
    const { principal, signal } = invocation
    const request = { principal, params, channel: name, services: host.services, signal }
    if ((await channel.authorize(request as never)) !== true) throw forbidden(name)
  }

  /** The tenant whose channel it is: that of the caller, and no other can be named. */
  function tenantOf(channel: Channel, { principal }: Invocation): string | null {
    if (channel.scope === 'global') return null
    if (principal.tenantId === null) throw forbidden(channel.pattern.text)
    return principal.tenantId
  }

  function end(name: string, subscription: Subscription): void {
    if (subscriptions.get(name) === subscription) subscriptions.delete(name)
    subscription.stop()
    engine.leave(subscription, connection.id)
  }

  async function recheck(name: string, subscription: Subscription): Promise<void> {
    if (checking.has(subscription) || subscriptions.get(name) !== subscription) return
    const { channel } = subscription.topic
    const params = channel.pattern.match(name) ?? {}
    checking.add(subscription)
    try {
      await run(channel.subscribe, (invocation) => authorize(channel, name, params, invocation))
    } catch (error) {
      if (isClosed || !isQuintetError(error) || subscriptions.get(name) !== subscription) return
      if (error.kind !== 'forbidden' && error.kind !== 'unauthenticated') return
      end(name, subscription)
      send({ type: 'ended', channel: name, error: toWireError(error) })
    } finally {
      checking.delete(subscription)
    }
  }

  tellExpiry()
  return {
    message(data) {
      if (isClosed) return
      if (typeof data !== 'string')
        sendError(undefined, new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'Messages are text, not binary.'))
      else receive(data)
    },
    rechecks() {
      return [...subscriptions].map(
        ([name, subscription]) =>
          () =>
            recheck(name, subscription),
      )
    },
    notifyShutdown(reason: StopReason, reconnectAfterMs: number) {
      send({ type: 'server_shutdown', reason, reconnectAfterMs })
    },
    whenIdle() {
      return pending === 0 ? Promise.resolve() : new Promise((resolve) => onIdle.push(resolve))
    },
    closed() {
      if (isClosed) return
      isClosed = true
      for (const [name, subscription] of Array.from(subscriptions)) end(name, subscription)
      onClosed()
    },
  }
}

function forbidden(channel: string): RealtimeError {
  return new RealtimeError('ERR_REALTIME_FORBIDDEN', `This is not open to you: ${JSON.stringify(channel)}.`)
}
