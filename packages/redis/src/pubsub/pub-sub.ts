import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import type { Duration, Logger } from '@quintet/core'
import { option, readOptions, refuseUnknownKeys } from '@quintet/core/kit'
import type { Redis } from 'ioredis'
import { describeFailure, RedisError } from '../errors.ts'
import { assertKey } from '../commands/key.ts'
import { parsed } from '../commands/parsed.ts'
import { prefixOption } from '../commands/script.ts'
import { openSubscriber } from './subscriber.ts'

export interface PubSubOptions {
  /** Publishes. The connection that subscribes is made like it, and is our own. */
  readonly client: Redis
  /** Put before every channel. Redis has one space of channels for all its databases. @defaultValue `''` */
  readonly prefix?: string
  /** Tells the messages of this instance from those of others. @defaultValue a random UUID */
  readonly instanceId?: string
  /** The subscribing connection is pinged this often, and made anew when no answer comes in the same time. @defaultValue `'5s'` */
  readonly pingInterval?: Duration
  readonly logger?: Logger
}

/** A message as it arrives. */
export interface PubSubMessage<T = unknown> {
  readonly channel: string
  readonly data: T
  /** Instance id of the sender. */
  readonly from: string
  /** True when this very instance sent it. */
  readonly own: boolean
}

export interface SubscribeOptions<T> {
  /** Checks what came over the wire, at once; a message for which it throws is dropped and logged. */
  readonly parse?: (data: unknown) => T
  /** Called after an interruption: messages may have been missed, so read the truth again. */
  readonly onGap?: () => unknown
}

export interface Subscription extends AsyncDisposable {
  /** Ends it; resolves when no further message can come. Idempotent. */
  unsubscribe(): Promise<void>
}

/** Messages between instances, delivered at most once. */
export interface PubSub extends AsyncDisposable {
  readonly instanceId: string
  /** Sends data that JSON can express. Resolves with the number of connections that received it, ours included. */
  publish(channel: string, data: unknown): Promise<number>
  /**
   * Resolves when the server has confirmed: messages published from then on arrive, in order per sender. The handler,
   * `parse` and `onGap` run in the async context (`AsyncLocalStorage`) of this call.
   */
  subscribe<T = unknown>(
    channel: string,
    handler: (message: PubSubMessage<T>) => void | Promise<void>,
    options?: SubscribeOptions<T>,
  ): Promise<Subscription>
  close(): Promise<void>
}

export const pubSubDefaults: Readonly<{ prefix: string; pingInterval: Duration }> = Object.freeze({
  prefix: '',
  pingInterval: '5s',
})

interface Listener {
  deliver(message: PubSubMessage): Promise<void>
  gap(): Promise<void>
}

const spec = {
  client: option.collaborator<Redis>(['publish', 'duplicate'], 'a Redis client (ioredis)'),
  prefix: prefixOption(pubSubDefaults.prefix),
  instanceId: option
    .text()
    .optional()
    .map((given) => given ?? randomUUID()),
  pingInterval: option.delay(pubSubDefaults.pingInterval, { min: 1 }),
  logger: option.logger(),
}

/**
 * Makes publish and subscribe with JSON messages that carry their sender.
 *
 * Subscriptions survive a lost connection; what was published meanwhile is lost, and `onGap` says so.
 *
 * @throws TypeError for unknown options, and for the client of a cluster, whose connections cannot be duplicated one by one.
 */
export function createPubSub(options: PubSubOptions): PubSub {
  const { client, prefix, instanceId, pingInterval, logger } = readOptions<PubSubOptions, typeof spec>(
    options,
    spec,
    'createPubSub',
    {
      check(read, note) {
        if (read.client.isCluster) note('client', 'give a client of one node; a cluster passes messages on.')
      },
    },
  )
  const listeners = new Map<string, Set<Listener>>()
  let closed = false

  const subscriber = openSubscriber({
    client,
    pingInterval,
    logger,
    onMessage(wireChannel, text) {
      const channel = wireChannel.slice(prefix.length)
      const message = decode(channel, text)
      if (message === undefined) {
        logger.warn({ channel }, 'a message that is not ours was dropped')
        return
      }
      for (const listener of listeners.get(wireChannel) ?? []) void listener.deliver(message)
    },
    onGap(wireChannels) {
      for (const wireChannel of wireChannels)
        for (const listener of listeners.get(wireChannel) ?? []) void listener.gap()
    },
  })

  function decode(channel: string, text: string): PubSubMessage | undefined {
    let envelope: unknown
    try {
      envelope = JSON.parse(text)
    } catch {
      return undefined
    }
    const { from, data } = (envelope ?? {}) as { from?: unknown; data?: unknown }
    return typeof from === 'string' ? { channel, data, from, own: from === instanceId } : undefined
  }

  function refuseWhenClosed(): void {
    if (closed) throw new RedisError('ERR_REDIS_CLOSED', 'The pub/sub is closed.')
  }

  return {
    instanceId,
    async publish(channel, data) {
      assertKey(channel, 'publish')
      refuseWhenClosed()
      // A client with `stringNumbers` gives a text.
      return Number(await client.publish(prefix + channel, JSON.stringify({ from: instanceId, data })))
    },
    async subscribe<T>(
      channel: string,
      handler: (message: PubSubMessage<T>) => void | Promise<void>,
      subscribeOptions: SubscribeOptions<T> = {},
    ) {
      assertKey(channel, 'subscribe')
      refuseUnknownKeys(subscribeOptions, ['parse', 'onGap'], 'subscribe')
      refuseWhenClosed()
      const { parse = (data: unknown) => data as T, onGap } = subscribeOptions
      const wireChannel = prefix + channel
      // In the async context of this call, not in that of whoever opened the connection.
      const listener: Listener = {
        deliver: AsyncLocalStorage.bind(async (message: PubSubMessage) => {
          try {
            await handler({ ...message, data: parsed(parse, message.data) })
          } catch (error) {
            logger.error({ channel, reason: describeFailure(error) }, 'a message could not be handled')
          }
        }),
        gap: AsyncLocalStorage.bind(async () => {
          try {
            await onGap?.()
          } catch (error) {
            logger.error({ channel, reason: describeFailure(error) }, 'a gap could not be handled')
          }
        }),
      }
      const others = listeners.get(wireChannel)
      if (others === undefined) listeners.set(wireChannel, new Set([listener]))
      else others.add(listener)
      let ended: Promise<void> | undefined
      const unsubscribe = (): Promise<void> => (ended ??= end(wireChannel, listener))
      try {
        await subscriber.add(wireChannel)
      } catch (error) {
        await unsubscribe()
        throw error
      }
      return { unsubscribe, [Symbol.asyncDispose]: unsubscribe }
    },
    async close() {
      closed = true
      listeners.clear()
      await subscriber.close()
    },
    async [Symbol.asyncDispose]() {
      await this.close()
    },
  }

  async function end(wireChannel: string, listener: Listener): Promise<void> {
    const remaining = listeners.get(wireChannel)
    if (remaining === undefined) return
    remaining.delete(listener)
    if (remaining.size > 0) return
    listeners.delete(wireChannel)
    await subscriber.remove(wireChannel)
  }
}
