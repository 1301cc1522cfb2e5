import { closeCode } from '@quintet/core/http'
import type { RealtimeConnection } from './connection.ts'
import type { LoggedEvent } from '../topic/event-log.ts'
import type { ResolvedChannelsOptions } from './channels-options.ts'
import type { Topic, TopicSubscriber } from '../topic/topic.ts'
import { eventMessage, type ServerMessage } from '../wire/messages.ts'
import type { EventPosition } from '../wire/event-position.ts'

/** How often it is looked whether a client has read, in milliseconds. */
const drainCheck = 50
/** A client to which events are replayed is slow when it has read nothing for so long, in milliseconds. */
const stallTime = 30_000

/**
 * One connection on one topic. Until {@link Subscription.start} everything that comes is kept; from then on each event
 * after the starting position goes out once.
 */
export interface Subscription extends TopicSubscriber {
  readonly topic: Topic
  readonly user: string | null
  /** Replays events as fast as the client reads, then sends what has come in the meantime, and goes live. */
  start(from: EventPosition, replay: readonly LoggedEvent[]): void
  stop(): void
}

export function createSubscription(
  topic: Topic,
  user: string | null,
  connection: RealtimeConnection,
  slowConsumer: ResolvedChannelsOptions['slowConsumer'],
): Subscription {
  /** What has come before it went live. */
  let kept: (() => void)[] | undefined = []
  let keptSize = 0
  /** The last event that there was no room to keep. */
  let dropped: EventPosition | undefined
  let position: EventPosition | undefined
  /** The last event that was left out, while the client does not read. */
  let skipped: EventPosition | undefined
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  function sendEvent(at: EventPosition, text: string): void {
    if (stopped || (position && at.epoch === position.epoch && at.offset <= position.offset)) return
    position = at
    if (skipped === undefined && connection.bufferedBytes <= slowConsumer.limit && connection.send(text))
      return
    if (connection.signal.aborted) return
    if (slowConsumer.policy === 'disconnect') {
      stop()
      connection.close(closeCode.slowConsumer, 'slow consumer')
      return
    }
    skipped = at
    timer ??= setInterval(tellSkipped, drainCheck)
  }

  function tellSkipped(): void {
    if (!skipped || connection.bufferedBytes > slowConsumer.limit / 2) return
    const at = skipped
    clearInterval(timer)
    timer = undefined
    skipped = undefined
    tellLost(at)
  }

  function tellLost(at: EventPosition): void {
    position = at
    send({ type: 'lost', channel: topic.name, ...at })
  }

  function send(message: ServerMessage): void {
    if (!stopped) connection.send(JSON.stringify(message))
  }

  function sendPresence(text: string): void {
    // Who comes and goes can be asked for again; it must not fill the buffer of a client that does not read.
    if (!stopped && connection.bufferedBytes <= slowConsumer.limit) connection.send(text)
  }

  /** Keeps about as much as may wait for a connection. False when there is no room. */
  function keep(size: number, action: () => void): boolean {
    if (dropped !== undefined || keptSize > slowConsumer.limit) return false
    keptSize += size
    kept?.push(action)
    return true
  }

  async function replayEvents(replay: readonly LoggedEvent[]): Promise<void> {
    for (const { position: at, data } of replay) {
      await untilRead()
      sendEvent(at, eventMessage(topic.name, at, data))
    }
    await untilRead()
    goLive()
  }

  /** Waits while too much waits to be sent and the client goes on reading. */
  async function untilRead(): Promise<void> {
    let least = Infinity
    let readAt = performance.now()
    while (!stopped && connection.bufferedBytes > slowConsumer.limit) {
      if (connection.bufferedBytes < least) {
        least = connection.bufferedBytes
        readAt = performance.now()
      } else if (performance.now() - readAt > stallTime) return
      await new Promise((resolve) => setTimeout(resolve, drainCheck))
    }
  }

  function goLive(): void {
    const actions = kept ?? []
    kept = undefined
    for (const action of actions) action()
    if (dropped) tellLost(dropped)
  }

  function stop(): void {
    stopped = true
    kept = []
    clearInterval(timer)
    topic.remove(subscription)
  }

  const subscription: Subscription = {
    topic,
    user,
    event(at, text) {
      if (!kept) sendEvent(at, text)
      else if (!keep(text.length, () => sendEvent(at, text))) dropped = at
    },
    lost(at) {
      const action = (): void => {
        // An offset that was passed already is told too: Redis may have come back with older data.
        if (!position || !isSame(at, position)) tellLost(at)
      }
      if (!kept) action()
      else if (!keep(0, action)) dropped = at
    },
    presence(text) {
      if (!kept) sendPresence(text)
      else keep(text.length, () => sendPresence(text))
    },
    start(from, replay) {
      position = from
      if (replay.length === 0) goLive()
      else void replayEvents(replay)
    },
    stop,
  }
  return subscription
}

function isSame(one: EventPosition, other: EventPosition): boolean {
  return one.epoch === other.epoch && one.offset === other.offset && one.tag === other.tag
}
