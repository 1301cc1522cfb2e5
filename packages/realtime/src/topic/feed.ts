import type { Logger } from '@quintet/core'
import type { SubscriberRedis } from './redis-port.ts'

/** Brings what other instances publish: one Redis subscription per feed, however many listen. */
export interface Feed {
  /** Resolves when Redis has confirmed that messages will come. */
  listen(feed: string, onMessage: (message: string) => void): Promise<FeedSubscription>
  /** Called when the connection is back after a break, in which messages were lost. */
  onReconnected(callback: () => void): void
  close(): void
}

export interface FeedSubscription {
  stop(): void
}

interface Listening {
  readonly listeners: Set<(message: string) => void>
  readonly confirmed: Promise<unknown>
}

export function createFeed(redis: SubscriberRedis, logger: Logger): Feed {
  const feeds = new Map<string, Listening>()
  const reconnected: (() => void)[] = []
  let wasReady = false
  let closed = false

  redis.on('error', (error) =>
    logger.warn({ err: error }, 'the connection on which events come in has failed'),
  )
  redis.on('ready', () => {
    if (wasReady) void resubscribe()
    wasReady = true
  })
  redis.on('message', (feed, message) => {
    const listening = feeds.get(feed)
    if (!listening) return
    for (const listener of listening.listeners) listener(message)
  })

  /** What was missed is read only when Redis has confirmed that what follows will come. */
  async function resubscribe(): Promise<void> {
    try {
      if (feeds.size > 0) await redis.subscribe(...feeds.keys())
    } catch (error) {
      // The connection is lost again; the next one does this anew.
      logger.debug({ err: error }, 'the feeds could not be subscribed to again')
      return
    }
    if (!closed) for (const callback of reconnected) callback()
  }

  return {
    async listen(feed, onMessage) {
      let listening = feeds.get(feed)
      if (!listening) {
        listening = { listeners: new Set(), confirmed: redis.subscribe(feed) }
        feeds.set(feed, listening)
      }
      const { listeners, confirmed } = listening
      listeners.add(onMessage)
      const stop = (): void => {
        listeners.delete(onMessage)
        if (listeners.size > 0 || feeds.get(feed)?.listeners !== listeners) return
        feeds.delete(feed)
        if (!closed) redis.unsubscribe(feed).catch(() => undefined)
      }
      try {
        await confirmed
      } catch (error) {
        stop()
        throw error
      }
      return { stop }
    },
    onReconnected(callback) {
      reconnected.push(callback)
    },
    close() {
      closed = true
      feeds.clear()
      redis.disconnect()
    },
  }
}
