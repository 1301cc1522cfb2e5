import type { RealtimeConnection } from './connection.ts'
import type { LoggedEvent } from '../topic/event-log.ts'
import type { ResolvedChannelsOptions } from './channels-options.ts'
import type { Topic, TopicSubscriber } from '../topic/topic.ts'
import { eventMessage, type ServerMessage } from '../wire/messages.ts'
import type { EventPosition } from '../wire/event-position.ts'

/** Why a connection that does not read is closed. */
export const slowConsumerCode = 4008

const drainCheck = 50

/**
 * One connection on one topic. Until {@link Subscription.start} everything that comes is kept; from then on each event
 * after the starting position goes out once.
 */
export interface Subscription extends TopicSubscriber {
  readonly topic: Topic
  readonly user: string | null
  /** Sends what is replayed and what has come in the meantime, and goes live. */
  start(from: EventPosition, replay: readonly LoggedEvent[]): void
  stop(): void
}

export function createSubscription(
  topic: Topic,
  user: string | null,
  connection: RealtimeConnection,
  slowConsumer: ResolvedChannelsOptions['slowConsumer'],
): Subscription {
  let kept: (() => void)[] | undefined = []
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
      connection.close(slowConsumerCode, 'slow consumer')
      return
    }
    skipped = at
    timer ??= setInterval(sayWhatIsLost, drainCheck)
  }

  function sayWhatIsLost(): void {
    if (!skipped || connection.bufferedBytes > slowConsumer.limit / 2) return
    const at = skipped
    clearInterval(timer)
    timer = undefined
    skipped = undefined
    send({ type: 'lost', channel: topic.name, ...at })
  }

  function send(message: ServerMessage): void {
    if (!stopped) connection.send(JSON.stringify(message))
  }

  function whenLive(action: () => void): void {
    if (kept) kept.push(action)
    else action()
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
    event: (at, text) => whenLive(() => sendEvent(at, text)),
    lost(at) {
      whenLive(() => {
        // An offset that was passed already is told too: Redis may have come back with older data.
        if (position && isSame(at, position)) return
        position = at
        send({ type: 'lost', channel: topic.name, ...at })
      })
    },
    presence: (text) =>
      whenLive(() => {
        // Who comes and goes can be asked for again; it must not fill the buffer of one who does not read.
        if (!stopped && connection.bufferedBytes <= slowConsumer.limit) connection.send(text)
      }),
    start(from, replay) {
      position = from
      for (const { position: at, data } of replay) sendEvent(at, eventMessage(topic.name, at, data))
      const actions = kept ?? []
      kept = undefined
      for (const action of actions) action()
    },
    stop,
  }
  return subscription
}

function isSame(one: EventPosition, other: EventPosition): boolean {
  return one.epoch === other.epoch && one.offset === other.offset && one.tag === other.tag
}
