import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { RealtimeConnection, RealtimeHost } from './connection.ts'
import { createFeed } from '../topic/feed.ts'
import type { ResolvedChannelsOptions } from './channels-options.ts'
import { updatePresence, type Member } from '../topic/presence.ts'
import { openSession } from './open-session.ts'
import type { RealtimeSession } from './realtime-session.ts'
import type { SessionHost } from './session-host.ts'
import { topicKeys } from '../topic/topic-keys.ts'
import { openTopic, type Topic, type TopicSubscriber } from '../topic/topic.ts'

/** The channels of one instance, with all their sessions. */
export interface Engine extends SessionHost {
  open(connection: RealtimeConnection): RealtimeSession
  close(): Promise<void>
}

/** Subscriptions that are checked again at the same time. */
const checksAtOnce = 32
/** Milliseconds between two signs of life for the positions of channels that are quiet. */
const keepInterval = 60 * 60 * 1_000
/** Milliseconds in which members are told to have left when the instance stops; without Redis they expire. */
const leaveTime = 1_000

export function createEngine(options: ResolvedChannelsOptions, host: RealtimeHost): Engine {
  const { prefix, presenceTtl } = options
  const redis = options.redis(host.services)
  const { logger } = host
  const instance = randomBytes(6).toString('base64url')
  let memberCount = 0
  const topics = new Map<string, Topic>()
  const sessions = new Set<RealtimeSession>()
  const members = new Map<TopicSubscriber, Member>()
  /** Topics whose members and subscribers may differ, since the feed was interrupted. */
  const unsynchronized = new Set<Topic>()
  const leaving = new Set<Promise<unknown>>()
  const feed = createFeed(
    // This connection waits for Redis for as long as it takes, whatever the client that it comes from does.
    redis.duplicate({
      enableOfflineQueue: true,
      maxRetriesPerRequest: null,
      commandTimeout: undefined,
      lazyConnect: false,
      retryStrategy: reconnectPause,
    }),
    logger,
  )
  feed.onReconnected(() => {
    for (const topic of topics.values()) {
      topic.catchUp()
      if (topic.channel.presence) unsynchronized.add(topic)
    }
    void renewPresence([...unsynchronized])
  })

  async function renewPresence(chosen: Iterable<Topic>): Promise<void> {
    for (const topic of chosen) {
      // Read when it is sent: who has left since the last topic must not be put back.
      const present = [...topic.subscribers].flatMap((subscriber) => members.get(subscriber) ?? [])
      const operation = unsynchronized.delete(topic) ? 'sync' : 'touch'
      if (present.length === 0) continue
      try {
        await updatePresence(redis, operation, topic.keys, presenceTtl, present)
      } catch (error) {
        if (operation === 'sync') unsynchronized.add(topic)
        logger.warn({ err: error, channel: topic.name }, 'presence cannot be renewed')
      }
    }
  }

  /** A slow `authorize` takes one of the places and holds up no other check. */
  async function recheckAll(): Promise<void> {
    const checks = [...sessions].flatMap((session) => session.rechecks()).values()
    const place = async (): Promise<void> => {
      for (const check of checks) await check()
    }
    await Promise.all(Array.from({ length: checksAtOnce }, place))
  }

  async function keepPositions(): Promise<void> {
    for (const topic of topics.values()) await topic.keep()
  }

  const heartbeat = setInterval(() => void renewPresence(topics.values()), presenceTtl / 3)
  const keeping = setInterval(() => void keepPositions(), keepInterval)
  const recheck = options.recheck === 0 ? undefined : setInterval(() => void recheckAll(), options.recheck)

  const engine: Engine = {
    redis,
    open(connection) {
      const session = openSession(connection, engine, options, host, () => sessions.delete(session))
      sessions.add(session)
      return session
    },
    topic(channel, tenantId, name) {
      const keys = topicKeys(redis, prefix, tenantId, name)
      const existing = topics.get(keys.feed)
      if (existing) return existing
      const topic = openTopic({
        name,
        channel,
        keys,
        redis,
        feed,
        logger,
        replay: options,
        onEmpty: () => {
          if (topics.get(keys.feed) === topic) topics.delete(keys.feed)
          unsynchronized.delete(topic)
        },
      })
      topics.set(keys.feed, topic)
      return topic
    },
    async arrive(subscription) {
      const member = { id: `${instance}:${++memberCount}`, user: subscription.user ?? '' }
      members.set(subscription, member)
      const { keys, presence } = subscription.topic
      const users = await updatePresence(redis, 'touch', keys, presenceTtl, [member])
      presence.add(users)
      return users
    },
    leave(subscription) {
      const member = members.get(subscription)
      if (!member || !members.delete(subscription)) return
      const { keys, name } = subscription.topic
      const left = updatePresence(redis, 'leave', keys, presenceTtl, [member]).catch((error: unknown) => {
        logger.debug({ err: error, channel: name }, 'a leave could not be told; the member will expire')
      })
      leaving.add(left)
      void left.finally(() => leaving.delete(left))
    },
    async close() {
      clearInterval(heartbeat)
      clearInterval(keeping)
      clearInterval(recheck)
      for (const session of sessions) session.closed(1001)
      const isDone = await within(leaveTime, Promise.all(leaving))
      if (!isDone) logger.warn({ members: leaving.size }, 'leaves could not be told; the members will expire')
      feed.close()
    },
  }
  return engine
}

/** Reconnects for good, whatever the client that the feed's connection comes from does. */
function reconnectPause(attempt: number): number {
  return Math.min(attempt * 50, 2_000)
}

/** Whether the work ends within the time. */
async function within(milliseconds: number, work: Promise<unknown>): Promise<boolean> {
  const timer = new AbortController()
  try {
    return await Promise.race([
      work.then(() => true),
      delay(milliseconds, false, { signal: timer.signal }).catch(() => false),
    ])
  } finally {
    timer.abort()
  }
}
