import { within } from '../timing/within.ts'
import type { Logger } from '../logging/logger.ts'

/** The part of a Redis connection that publishes; ioredis's fits. */
export interface RedisPublisher {
  publish(channel: string, message: string): Promise<unknown>
}

/** The part of a Redis connection that subscribes; ioredis's fits. It must be used for nothing else. */
export interface RedisSubscriber {
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  on(event: 'message', listener: (channel: string, message: string) => void): unknown
  off(event: 'message', listener: (channel: string, message: string) => void): unknown
}

export interface SettingsRedis {
  readonly publisher: RedisPublisher
  readonly subscriber: RedisSubscriber
}

/** Tells other processes at once that a version is there. It may fail: whoever misses it sees the version by polling. */
export interface Announcements {
  announce(version: number): Promise<void>
  /** Calls back for every version that is announced. */
  listen(onVersion: (version: number) => void): Promise<void>
  close(): Promise<void>
}

/** A connection that is away may queue a command for as long as it likes; the longest wait for an answer, in milliseconds. */
const answerTimeout = 1_000

export function createAnnouncements(
  redis: SettingsRedis | undefined,
  namespace: string,
  logger: Logger,
): Announcements {
  const channel = `quintet:settings:${namespace}`
  let listener: ((channel: string, message: string) => void) | undefined

  const attempt = async (what: string, run: () => Promise<unknown>): Promise<void> => {
    try {
      await within(answerTimeout, run, `no answer within ${answerTimeout} ms`)
    } catch (error) {
      logger.warn({ err: error, channel }, `settings: could not ${what}; changes are still seen by polling`)
    }
  }

  return {
    async announce(version) {
      if (redis !== undefined)
        await attempt('publish', () => redis.publisher.publish(channel, String(version)))
    },
    async listen(onVersion) {
      if (redis === undefined || listener !== undefined) return
      listener = (from, message) => {
        if (from === channel) onVersion(Number(message))
      }
      redis.subscriber.on('message', listener)
      await attempt('subscribe', () => redis.subscriber.subscribe(channel))
    },
    async close() {
      if (redis === undefined || listener === undefined) return
      redis.subscriber.off('message', listener)
      listener = undefined
      await attempt('unsubscribe', () => redis.subscriber.unsubscribe(channel))
    },
  }
}
