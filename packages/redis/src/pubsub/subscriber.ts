import type { Logger } from '@quintet/core'
import type { Redis, RedisOptions } from 'ioredis'
import { backoff } from '../clients/backoff.ts'
import { endConnection } from '../clients/close-connection.ts'
import { describeFailure, RedisError, toRedisError } from '../errors.ts'

export interface SubscriberOptions {
  readonly client: Redis
  readonly pingInterval: number
  readonly logger: Logger
  onMessage(channel: string, text: string): void
  /** These channels were interrupted and are subscribed again. */
  onGap(channels: readonly string[]): void
}

/** One connection that stays subscribed to a set of channels. */
export interface Subscriber {
  /** Resolves when the server has confirmed. @throws RedisError `ERR_REDIS_UNAVAILABLE` when it does not within the ping interval. */
  add(channel: string): Promise<void>
  remove(channel: string): Promise<void>
  close(): Promise<void>
}

interface Wanted {
  /** Those who asked since it was last confirmed. */
  readonly waiting: Set<PromiseWithResolvers<void>>
  /** Messages arrived on it until the connection was lost. */
  interrupted: boolean
  confirmed: boolean
}

/** Connects at the first channel; after a loss it subscribes again by itself, for ever. */
export function openSubscriber(options: SubscriberOptions): Subscriber {
  const { client, pingInterval, logger } = options
  const wanted = new Map<string, Wanted>()
  let closed = false

  const settings: Partial<Omit<RedisOptions, 'replyMapping'>> = {
    protocol: 2,
    keyPrefix: '',
    connectionName: `${client.options.connectionName ?? 'redis'}:subscriber`,
    lazyConnect: true,
    autoResubscribe: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: pingInterval,
    socketTimeout: undefined,
    disconnectTimeout: 50,
    retryStrategy: backoff({ min: 50, max: 1_000 }),
  }
  const connection = client.duplicate(settings)

  async function subscribe(channels: readonly string[]): Promise<void> {
    if (channels.length === 0) return
    try {
      await connection.subscribe(...channels)
    } catch (error) {
      // A lost connection is made anew and comes here again; a refusal would only repeat itself.
      if (connection.status !== 'ready') return
      logger.warn({ channels, reason: describeFailure(error) }, 'redis refused subscriptions')
      for (const channel of channels)
        for (const { reject } of wanted.get(channel)?.waiting ?? []) reject(toRedisError(error))
      return
    }
    const again: string[] = []
    for (const channel of channels) {
      const entry = wanted.get(channel)
      if (entry === undefined) continue
      if (entry.interrupted) again.push(channel)
      entry.interrupted = false
      entry.confirmed = true
      for (const { resolve } of entry.waiting) resolve()
    }
    if (again.length > 0) options.onGap(again)
  }

  connection.on('ready', () => void subscribe([...wanted.keys()]))
  connection.on('close', () => {
    let lost = false
    for (const entry of wanted.values()) {
      if (!entry.confirmed) continue
      lost = true
      entry.confirmed = false
      entry.interrupted = true
    }
    if (lost && !closed) logger.warn({}, 'redis subscriptions interrupted')
  })
  connection.on('error', (error: Error) => {
    logger.debug({ reason: describeFailure(error) }, 'redis subscriber connection failed')
  })
  connection.on('message', options.onMessage)

  const timer = setInterval(() => {
    if (connection.status !== 'ready') return
    connection.ping().catch(() => {
      if (!closed && connection.status === 'ready') connection.disconnect(true)
    })
  }, pingInterval)

  return {
    async add(channel) {
      const known = wanted.get(channel)
      const entry: Wanted = known ?? { waiting: new Set(), interrupted: false, confirmed: false }
      if (known === undefined) {
        wanted.set(channel, entry)
        if (connection.status === 'wait') connection.connect().catch(() => undefined)
        else if (connection.status === 'ready') void subscribe([channel])
      }
      if (entry.confirmed) return
      const confirmation = Promise.withResolvers<void>()
      entry.waiting.add(confirmation)
      const timeout = setTimeout(() => {
        const message = `Redis did not confirm a subscription within ${pingInterval} ms.`
        confirmation.reject(new RedisError('ERR_REDIS_UNAVAILABLE', message, { retryAfter: pingInterval }))
      }, pingInterval)
      try {
        await confirmation.promise
      } finally {
        clearTimeout(timeout)
        entry.waiting.delete(confirmation)
      }
    },
    async remove(channel) {
      wanted.delete(channel)
      if (connection.status === 'ready') await connection.unsubscribe(channel).catch(() => undefined)
    },
    async close() {
      if (closed) return
      closed = true
      clearInterval(timer)
      for (const { waiting } of wanted.values())
        for (const { reject } of waiting) reject(new RedisError('ERR_REDIS_CLOSED', 'The pub/sub is closed.'))
      wanted.clear()
      await endConnection(connection)
    },
  }
}
