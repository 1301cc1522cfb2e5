import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@quintet/core'
import type { Channel } from '../channel/channel.ts'
import { keepPosition, readEvents, type ReadResult, type ReplayLimits } from './event-log.ts'
import type { Feed, FeedSubscription } from './feed.ts'
import { createPresenceView, type PresenceChange, type PresenceView } from './presence-view.ts'
import type { RealtimeRedis } from './redis-port.ts'
import type { TopicKeys } from './topic-keys.ts'
import { eventMessage, type ServerMessage } from '../wire/messages.ts'
import type { EventPosition } from '../wire/event-position.ts'

/** One subscription to a topic on this instance. */
export interface TopicSubscriber {
  /** `text` is the whole message as it goes out, the same for all. */
  event(position: EventPosition, text: string): void
  /** What lies between the last event and this position is not to be had. */
  lost(position: EventPosition): void
  presence(text: string): void
}

/** One channel of one tenant on this instance: it brings each event once and in order to its subscribers. */
export interface Topic {
  readonly name: string
  readonly channel: Channel
  readonly keys: TopicKeys
  readonly subscribers: ReadonlySet<TopicSubscriber>
  readonly presence: PresenceView
  /** Resolves when events come in. */
  readonly open: Promise<void>
  add(subscriber: TopicSubscriber): void
  /** Closes the topic with its last subscriber. */
  remove(subscriber: TopicSubscriber): void
  /** Fetches what was missed while the connection was down. */
  catchUp(): void
  /** Keeps the position of a quiet channel in Redis. */
  keep(): Promise<void>
}

export interface TopicSetup {
  readonly name: string
  readonly channel: Channel
  readonly keys: TopicKeys
  readonly redis: RealtimeRedis
  readonly feed: Feed
  readonly logger: Logger
  readonly replay: ReplayLimits
  readonly onEmpty: () => void
}

/** How often, and with which growing pause in milliseconds, missed events are asked for before events wait no longer. */
const readAttempts = 8
const readPause = 100

export function openTopic(setup: TopicSetup): Topic {
  const { name, channel, keys, redis, feed, logger } = setup
  const subscribers = new Set<TopicSubscriber>()
  const presence = createPresenceView()
  /** The last event that was handed on. */
  let last: EventPosition | undefined
  /** Messages that wait while a gap is being filled, or the first position is being read. */
  let waiting: string[] | undefined = []
  /** The connection was interrupted while a read was in progress. */
  let readAgain = false
  let subscription: FeedSubscription | undefined
  let closed = false

  function onMessage(message: string): void {
    const changes = presence.receive(message)
    if (changes) tellPresence(changes)
    else if (waiting) waiting.push(message)
    else handle(message)
  }

  function tellPresence(changes: readonly PresenceChange[]): void {
    for (const change of changes) {
      const notice: ServerMessage = { type: 'presence', channel: name, ...change }
      const text = JSON.stringify(notice)
      for (const subscriber of subscribers) subscriber.presence(text)
    }
  }

  function handle(message: string): void {
    const { position, previous, data } = readEventNotice(message)
    if (last === undefined) {
      // What came before could not be read.
      tellLost({ ...position, offset: position.offset - 1, tag: previous })
      deliver(position, data)
    } else if (isNext(position, previous, last)) deliver(position, data)
    else if (!isSeen(position, last) || position.tag !== last.tag) {
      // A gap, an older history that Redis came back with, or a repetition: the history decides.
      waiting = [message]
      void fillGap()
    }
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

  /** Reads what came after the last event. The message that was the reason for it is answered by what was read. */
  async function fillGap(): Promise<void> {
    const [reason] = waiting ?? []
    readAgain = false
    const result = await tryToRead(last)
    if (closed) return
    if (!result) last = undefined
    else if (result.recovered) for (const { position, data } of result.events) deliver(position, data)
    else tellLost(result.head)
    if (result && reason !== undefined && !isSuccessor(reason)) waiting?.shift()
    if (readAgain) void fillGap()
    else release()
  }

  function isSuccessor(message: string): boolean {
    if (!last) return false
    const { position, previous } = readEventNotice(message)
    return isNext(position, previous, last)
  }

  /**
   * Goes on trying while the channel is quiet, since only the history can tell what was missed. Once events wait, it is
   * given up after some attempts: they show what was missed, and must not pile up.
   */
  async function tryToRead(since: EventPosition | undefined): Promise<ReadResult | undefined> {
    for (let attempt = 1; !closed; attempt++) {
      try {
        return await readEvents(redis, keys, channel.history, since, setup.replay)
      } catch (error) {
        logger.warn({ err: error, channel: name, attempt }, 'events that were missed cannot be fetched')
        if (attempt >= readAttempts && waiting !== undefined && waiting.length > 0) return undefined
        await delay(Math.min(attempt, readAttempts) * readPause)
      }
    }
    return undefined
  }

  /** Goes on with what has waited. */
  function release(): void {
    const messages = waiting ?? []
    waiting = undefined
    for (const [index, message] of messages.entries()) {
      if (last && isSeen(readEventNotice(message).position, last)) continue
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
    last = (await readEvents(redis, keys, channel.history, undefined, setup.replay)).head
    if (readAgain) void fillGap()
    else release()
  }

  async function keep(): Promise<void> {
    try {
      await keepPosition(redis, keys, channel.history)
    } catch (error) {
      logger.warn({ err: error, channel: name }, 'the position of a channel could not be kept')
    }
  }

  const opened = open()
  opened.catch(() => undefined)
  return {
    name,
    channel,
    keys,
    subscribers,
    presence,
    open: opened,
    add: (subscriber) => void subscribers.add(subscriber),
    remove(subscriber) {
      if (!subscribers.delete(subscriber) || subscribers.size > 0 || closed) return
      closed = true
      subscription?.stop()
      setup.onEmpty()
    },
    keep,
    catchUp() {
      if (closed) return
      if (waiting) {
        readAgain = true
        return
      }
      waiting = []
      void fillGap()
    },
  }
}

/** An event as it comes over the feed. */
interface EventNotice {
  readonly position: EventPosition
  /** The tag of the event before it. */
  readonly previous: string
  readonly data: string
}

function readEventNotice(message: string): EventNotice {
  const fields: string[] = []
  let at = 2
  for (let index = 0; index < 4; index++) {
    const end = message.indexOf('\n', at)
    fields.push(message.slice(at, end))
    at = end + 1
  }
  const [epoch = '', offset, tag = '', previous = ''] = fields
  return { position: { epoch, offset: Number(offset), tag }, previous, data: message.slice(at) }
}

function isNext(position: EventPosition, previous: string, last: EventPosition): boolean {
  return position.epoch === last.epoch && position.offset === last.offset + 1 && previous === last.tag
}

function isSeen(position: EventPosition, last: EventPosition): boolean {
  return position.epoch === last.epoch && position.offset <= last.offset
}
