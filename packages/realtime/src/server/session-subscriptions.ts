import type { Invocation } from '@quintet/core'
import { isQuintetError, type QuintetError } from '@quintet/core'
import { findChannel, type FoundChannel } from '../channel/find-channel.ts'
import { RealtimeError } from '../errors.ts'
import { readEvents } from '../topic/event-log.ts'
import { unavailable } from '../topic/run-script.ts'
import type { EventPosition } from '../wire/event-position.ts'
import type { MessageId, ServerMessage } from '../wire/messages.ts'
import { toWireError } from '../wire/to-wire-error.ts'
import { tenantOf, type ChannelCalls } from './channel-calls.ts'
import type { ResolvedChannelsOptions } from './channels-options.ts'
import type { RealtimeConnection } from './connection.ts'
import type { SessionHost } from './session-host.ts'
import { createSubscription, type Subscription } from './subscription.ts'

/** A subscription is ended when so many checks in a row could not be made. */
const failedChecksAtMost = 3

export interface SessionSubscriptionsSetup {
  readonly connection: RealtimeConnection
  readonly engine: SessionHost
  readonly options: ResolvedChannelsOptions
  readonly calls: ChannelCalls
  readonly send: (message: ServerMessage) => void
}

/** The subscriptions of one connection, by channel. */
export interface SessionSubscriptions {
  /** Sets one up, in place of an earlier one to the same channel. */
  subscribe(id: MessageId, name: string, since: EventPosition | undefined): Promise<void>
  unsubscribe(id: MessageId, name: string): void
  /** One check for each subscription, which authorizes it again and ends it where it is not allowed any more. */
  rechecks(): readonly (() => Promise<void>)[]
  /** Ends all. */
  close(): void
}

interface Entry {
  readonly found: FoundChannel
  readonly subscription: Subscription
  isChecking: boolean
  failedChecks: number
}

export function createSessionSubscriptions(setup: SessionSubscriptionsSetup): SessionSubscriptions {
  const { connection, engine, options, calls, send } = setup
  const entries = new Map<string, Entry>()
  let isClosed = false

  async function replace(
    id: MessageId,
    found: FoundChannel,
    since: EventPosition | undefined,
    invocation: Invocation,
  ): Promise<void> {
    const earlier = entries.get(found.name)
    const entry = add(found, invocation, earlier)
    try {
      await start(id, entry, since, invocation.signal)
    } catch (error) {
      end(entry)
      throw error
    } finally {
      // Not before the user is present by the new one, so that the others see no leave and join.
      if (earlier) engine.leave(earlier.subscription)
    }
  }

  function add(found: FoundChannel, invocation: Invocation, earlier: Entry | undefined): Entry {
    const { name, channel } = found
    if (!earlier && entries.size >= options.maxSubscriptions) {
      throw new RealtimeError(
        'ERR_REALTIME_SUBSCRIPTION_LIMIT',
        `A connection takes at most ${options.maxSubscriptions} subscriptions.`,
      )
    }
    const topic = engine.topic(channel, tenantOf(channel, invocation), name)
    const { userId } = invocation.principal
    const subscription = createSubscription(topic, userId, connection, options.slowConsumer)
    const entry: Entry = { found, subscription, isChecking: false, failedChecks: 0 }
    topic.add(subscription)
    entries.set(name, entry)
    earlier?.subscription.stop()
    return entry
  }

  async function start(
    id: MessageId,
    { found, subscription }: Entry,
    since: EventPosition | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { name, channel } = found
    const { topic } = subscription
    await topic.open.catch((cause: unknown) => {
      throw unavailable(cause)
    })
    const present = channel.presence ? await engine.arrive(subscription) : undefined
    const { head, recovered, events } = await readEvents(
      engine.redis,
      topic.keys,
      channel.history,
      since,
      options,
    )
    if (isClosed || signal.aborted)
      throw signal.reason ?? new RealtimeError('ERR_REALTIME_CLOSED', 'The connection closed.')
    const from = since && recovered ? since : head
    send({
      id,
      type: 'subscribed',
      channel: name,
      ...from,
      ...(since ? { recovered } : {}),
      ...(present ? { present } : {}),
    })
    subscription.start(from, events)
  }

  function end({ found, subscription }: Entry): void {
    if (entries.get(found.name)?.subscription === subscription) entries.delete(found.name)
    subscription.stop()
    engine.leave(subscription)
  }

  async function recheck(entry: Entry): Promise<void> {
    const stands = (): boolean => !isClosed && entries.get(entry.found.name) === entry
    if (entry.isChecking || !stands()) return
    entry.isChecking = true
    try {
      await calls.subscribe(entry.found, async () => undefined)
      entry.failedChecks = 0
    } catch (error) {
      const reason = stands() ? reasonToEnd(entry, error) : undefined
      if (!reason) return
      end(entry)
      send({ type: 'ended', channel: entry.found.name, error: toWireError(reason) })
    } finally {
      entry.isChecking = false
    }
  }

  return {
    async subscribe(id, name, since) {
      const found = findChannel(options.channels, name)
      await calls.subscribe(found, (invocation) => replace(id, found, since, invocation))
    },
    unsubscribe(id, name) {
      const entry = entries.get(findChannel(options.channels, name).name)
      if (!entry) {
        throw new RealtimeError(
          'ERR_REALTIME_NOT_SUBSCRIBED',
          `There is no subscription to ${JSON.stringify(name)}.`,
        )
      }
      end(entry)
      send({ id, type: 'unsubscribed', channel: name })
    },
    rechecks: () => [...entries.values()].map((entry) => () => recheck(entry)),
    close() {
      isClosed = true
      for (const entry of [...entries.values()]) end(entry)
    },
  }
}

/** A refusal ends a subscription at once; what fails otherwise, e.g. a database that is away, after some checks. */
function reasonToEnd(entry: Entry, error: unknown): QuintetError | undefined {
  if (isQuintetError(error) && (error.kind === 'forbidden' || error.kind === 'unauthenticated')) return error
  entry.failedChecks += 1
  return entry.failedChecks < failedChecksAtMost ? undefined : unavailable(error)
}
