import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@quintet/core'
import type { Channel } from './channel.ts'
import { readEvents, type EventPosition, type ReadResult } from './event-log.ts'
import type { Feed, FeedSubscription } from './feed.ts'
import type { RealtimeRedis } from './redis-port.ts'
import type { TopicKeys } from './topic-keys.ts'
import { eventMessage, type ServerMessage } from './wire.ts'

/** One who is subscribed to a topic on this instance. */
export interface TopicSubscriber {
  /** `text` is the whole message as it goes out, the same for all. */
  event(position: EventPosition, text: string): void
  /** What lies between the last event and this position is not to be had. */
  lost(position: EventPosition): void
  presence(text: string): void
}

/** One channel of one tenant on this instance: it brings each event once and in order to those who are subscribed. */
export interface Topic {
  readonly name: string
  readonly channel: Channel
  readonly keys: TopicKeys
  readonly subscribers: ReadonlySet<TopicSubscriber>
  /** Resolves when events come in. */
  readonly open: Promise<void>
  add(subscriber: TopicSubscriber): void
  /** Closes the topic with its last subscriber. */
  remove(subscriber: TopicSubscriber): void
  /** Fetches what was missed while the connection was down. */
  catchUp(): void
}

export interface TopicSetup {
  readonly name: string
  readonly channel: Channel
  readonly keys: TopicKeys
  readonly redis: RealtimeRedis
  readonly feed: Feed
  readonly logger: Logger
  readonly maxReplay: number
  readonly onEmpty: () => void
}

/** How often, and with which growing pause in milliseconds, missed events are asked for until they are given up. */
const readAttempts = 8
const readPause = 100

export function openTopic(setup: TopicSetup): Topic {
  const { name, channel, keys, redis, feed, logger } = setup
  const subscribers = new Set<TopicSubscriber>()
  /** The last event that was handed on. */
  let last: EventPosition | undefined
  /** Messages that wait while a gap is being filled, or the first position is being read. */
  let waiting: string[] | undefined = []
  let subscription: FeedSubscription | undefined
  let closed = false

  function onMessage(message: string): void {
    if (waiting) waiting.push(message)
    else handle(message)
  }

  function handle(message: string): void {
    if (message.startsWith('p\n')) {
      const [, event, ...user] = message.split('\n')
      const notice: ServerMessage = {
        type: 'presence',
        channel: name,
        event: event === 'join' ? 'join' : 'leave',
        user: user.join('\n'),
      }
      const text = JSON.stringify(notice)
      for (const subscriber of subscribers) subscriber.presence(text)
      return
    }
    const epochEnd = message.indexOf('\n', 2)
    const offsetEnd = message.indexOf('\n', epochEnd + 1)
    const position = {
      epoch: message.slice(2, epochEnd),
      offset: Number(message.slice(epochEnd + 1, offsetEnd)),
    }
    if (last && position.epoch === last.epoch) {
      if (position.offset <= last.offset) return
      if (position.offset > last.offset + 1) {
        waiting = [message]
        void fillGap()
        return
      }
    } else {
      // The count began anew, e.g. because Redis lost its data.
      tellLost({ epoch: position.epoch, offset: position.offset - 1 })
    }
    deliver(position, message.slice(offsetEnd + 1))
  }

  function deliver(position: EventPosition, data: string): void {
    last = position
    const text = eventMessage(name, position, data)
    for (const subscriber of subscribers) subscriber.event(position, text)
  }

  function tellLost(position: EventPosition): void {
    last = position
    for (const subscriber of subscribers) subscriber.lost(position)
  }

  async function fillGap(): Promise<void> {
    const since = last
    if (!since) return
    const result = await tryToRead(since)
    if (closed) return
    if (!result) {
      // Whatever comes next is told as a loss, because its epoch is not this one.
      last = { epoch: '', offset: 0 }
    } else if (result.recovered) {
      for (const { offset, data } of result.events) deliver({ epoch: result.head.epoch, offset }, data)
    } else {
      tellLost(result.head)
    }
    release()
  }

  async function tryToRead(since: EventPosition): Promise<ReadResult | undefined> {
    for (let attempt = 1; attempt <= readAttempts && !closed; attempt++) {
      try {
        return await readEvents(redis, keys, channel.history, since, setup.maxReplay)
      } catch (error) {
        logger.warn({ err: error, channel: name, attempt }, 'Events that were missed cannot be fetched.')
        await delay(attempt * readPause)
      }
    }
    return undefined
  }

  /** Goes on with what has waited. */
  function release(): void {
    const messages = waiting ?? []
    waiting = undefined
    for (const [index, message] of messages.entries()) {
      handle(message)
      // Handling one may have found another gap; the rest waits for that.
      const again = waiting as string[] | undefined
      if (again) {
        again.push(...messages.slice(index + 1))
        return
      }
    }
  }

  async function open(): Promise<void> {
    subscription = await feed.listen(keys.feed, onMessage)
    if (closed) {
      subscription.stop()
      return
    }
    last = (await readEvents(redis, keys, channel.history, undefined, 0)).head
    release()
  }

  const opened = open()
  opened.catch(() => undefined)
  return {
    name,
    channel,
    keys,
    subscribers,
    open: opened,
    add: (subscriber) => void subscribers.add(subscriber),
    remove(subscriber) {
      if (!subscribers.delete(subscriber) || subscribers.size > 0 || closed) return
      closed = true
      subscription?.stop()
      setup.onEmpty()
    },
    catchUp() {
      if (waiting || closed) return
      waiting = []
      void fillGap()
    },
  }
}
