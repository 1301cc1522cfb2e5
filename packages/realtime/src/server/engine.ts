import { randomBytes } from 'node:crypto'
import type { RealtimeConnection, RealtimeHost } from './connection.ts'
import { createFeed } from '../topic/feed.ts'
import type { ResolvedChannelsOptions } from './channels-options.ts'
import { removeMembers, touchMembers, type Member } from '../topic/presence.ts'
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

export function createEngine(options: ResolvedChannelsOptions, host: RealtimeHost): Engine {
  const { prefix, presenceTtl } = options
  const redis = options.redis(host.services)
  const { logger } = host
  const instance = randomBytes(6).toString('base64url')
  const topics = new Map<string, Topic>()
  const sessions = new Set<RealtimeSession>()
  const members = new Map<TopicSubscriber, Member>()
  const farewells = new Set<Promise<unknown>>()
  const feed = createFeed(
    // This connection waits for Redis for as long as it takes, whatever the client that it comes from does.
    redis.duplicate({
      enableOfflineQueue: true,
      maxRetriesPerRequest: null,
      commandTimeout: undefined,
      lazyConnect: false,
    }),
    logger,
  )
  feed.onReconnected(() => {
    for (const topic of topics.values()) topic.catchUp()
  })

  async function showPresence(): Promise<void> {
    for (const topic of topics.values()) {
      // Read when it is sent: who has left since the last topic must not be put back.
      const present = [...topic.subscribers].flatMap((subscriber) => members.get(subscriber) ?? [])
      if (present.length === 0) continue
      await touchMembers(redis, topic.keys, presenceTtl, present).catch((error: unknown) => {
        logger.warn({ err: error, channel: topic.name }, 'presence cannot be renewed')
      })
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

  const heartbeat = setInterval(() => void showPresence(), presenceTtl / 3)
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
      const keys = topicKeys(prefix, tenantId, name)
      const existing = topics.get(keys.feed)
      if (existing) return existing
      const topic = openTopic({
        name,
        channel,
        keys,
        redis,
        feed,
        logger,
        maxReplay: options.maxReplay,
        onEmpty: () => {
          if (topics.get(keys.feed) === topic) topics.delete(keys.feed)
        },
      })
      topics.set(keys.feed, topic)
      return topic
    },
    arrive(subscription, connectionId) {
      const member = { connection: `${instance}:${connectionId}`, user: subscription.user ?? '' }
      members.set(subscription, member)
      return touchMembers(redis, subscription.topic.keys, presenceTtl, [member])
    },
    leave(subscription) {
      const member = members.get(subscription)
      if (!member || !members.delete(subscription)) return
      const farewell = removeMembers(redis, subscription.topic.keys, presenceTtl, [member]).catch(
        (error: unknown) => {
          logger.debug(
            { err: error, channel: subscription.topic.name },
            'a leave could not be told; the member will expire',
          )
        },
      )
      farewells.add(farewell)
      void farewell.finally(() => farewells.delete(farewell))
    },
    async close() {
      clearInterval(heartbeat)
      clearInterval(keeping)
      clearInterval(recheck)
      for (const session of sessions) session.closed(1001)
      await Promise.all(farewells)
      feed.close()
    },
  }
  return engine
}
