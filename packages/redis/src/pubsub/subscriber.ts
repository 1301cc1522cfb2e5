import type { Logger } from '@quintet/core'
import type { Redis } from 'ioredis'
import { detached } from '../clients/async-context.ts'
import { endConnection } from '../clients/close-connection.ts'
import { openCompanion } from '../clients/companion.ts'
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
  state: 'waiting' | 'asked' | 'confirmed'
  /** Messages arrived on it until the connection was lost. */
  interrupted: boolean
  /** It was refused, and the log says so. */
  refused: boolean
}

/** Connects at the first channel; after a loss it subscribes again by itself, for ever. */
export function openSubscriber(options: SubscriberOptions): Subscriber {
  const { client, pingInterval, logger } = options
  const wanted = new Map<string, Wanted>()
  let closed = false

  // Where an answer is due and nothing is heard for so long, the connection is made anew, and asks for all channels.
  const connection = openCompanion(client, { name: 'subscriber', logger, socketTimeout: pingInterval })

  /** Asks for the channels that are not asked for yet. */
  function subscribe(): void {
    if (connection.status !== 'ready') return
    const missing = [...wanted].filter(([, { state }]) => state === 'waiting')
    if (missing.length > 0) void ask(missing)
  }

  async function ask(entries: readonly (readonly [string, Wanted])[]): Promise<void> {
    for (const [, entry] of entries) entry.state = 'asked'
    try {
      await connection.subscribe(...entries.map(([channel]) => channel))
    } catch (error) {
      refuse(entries, error)
      return
    }
    const again: string[] = []
    for (const [channel, entry] of entries) {
      // Removed meanwhile, and perhaps added again: this answer is not for the new one.
      if (wanted.get(channel) !== entry) continue
      if (entry.interrupted) again.push(channel)
      entry.interrupted = false
      entry.refused = false
      entry.state = 'confirmed'
      for (const { resolve } of entry.waiting) resolve()
    }
    if (again.length > 0) options.onGap(again)
  }

  /** A lost connection is made anew and asks again; what the server refuses is asked for again with the next ping. */
  function refuse(entries: readonly (readonly [string, Wanted])[], error: unknown): void {
    for (const [, entry] of entries) entry.state = 'waiting'
    if (connection.status !== 'ready') return
    // One that is forbidden has all others of the same command refused.
    if (entries.length > 1) {
      for (const entry of entries) void ask([entry])
      return
    }
    for (const [channel, entry] of entries) {
      if (!entry.refused)
        logger.warn({ channel, reason: describeFailure(error) }, 'redis refused a subscription')
      entry.refused = true
      for (const { reject } of entry.waiting) reject(toRedisError(error))
    }
  }

  connection.on('ready', subscribe)
  connection.on('close', () => {
    let lost = false
    for (const entry of wanted.values()) {
      if (entry.state === 'confirmed') {
        lost = true
        entry.interrupted = true
      }
      entry.state = 'waiting'
    }
    if (lost && !closed) logger.warn({}, 'redis subscriptions interrupted')
  })
  connection.on('message', options.onMessage)

  const beat = (): void => {
    if (connection.status !== 'ready') return
    // Without an answer the time limit of the socket ends the connection.
    connection.ping().catch(() => undefined)
    subscribe()
  }
  const timer = detached(() => setInterval(beat, pingInterval))

  return {
    async add(channel) {
      let entry = wanted.get(channel)
      if (entry === undefined) {
        entry = { waiting: new Set(), state: 'waiting', interrupted: false, refused: false }
        wanted.set(channel, entry)
      }
      if (entry.state === 'confirmed') return
      const confirmation = Promise.withResolvers<void>()
      entry.waiting.add(confirmation)
      if (connection.status === 'wait') connection.connect().catch(() => undefined)
      else subscribe()
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
