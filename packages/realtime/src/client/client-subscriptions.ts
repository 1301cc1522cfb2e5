import type { EventPosition } from '../wire/event-position.ts'
import type { ServerMessage } from '../wire/messages.ts'
import { pauseBefore } from './backoff.ts'
import { callBack } from './call-back.ts'
import { closedError, RealtimeClientError } from './client-error.ts'
import type { SubscribeOptions } from './client-options.ts'
import type { Request } from './pending-requests.ts'

/** Subscribe requests in progress at once, below what a server takes by default. */
const inProgressAtMost = 16

/** One subscription. */
export interface Entry {
  readonly channel: string
  readonly options: SubscribeOptions<unknown>
  readonly ready: PromiseWithResolvers<void>
  position: EventPosition | undefined
  /** `idle`: without a connection, or until the next try. */
  state: 'idle' | 'queued' | 'asked' | 'standing' | 'ended'
  failures: number
  timer: ReturnType<typeof setTimeout> | undefined
}

export interface SubscriptionsSetup {
  readonly backoff: { readonly min: number; readonly max: number }
  readonly ask: (request: Request, onAnswer: (answer: ServerMessage) => void) => Promise<unknown>
  /** The server does not accept the token any more. Resolves with whether it is worth another try. */
  readonly onUnauthenticated: () => Promise<boolean>
}

/** The subscriptions of a client, over all its connections. */
export interface ClientSubscriptions {
  /** After {@link ClientSubscriptions.close} it has ended. @throws TypeError for a channel that has a subscription. */
  add(channel: string, options: SubscribeOptions<unknown>): Entry
  remove(entry: Entry): void
  /** Subscribes to everything, on a new connection. */
  resume(): void
  /** The connection is gone. */
  interrupt(): void
  receive(message: ServerMessage): void
  /** Ends all for good. */
  close(): void
}

const clientClosed = (): RealtimeClientError => closedError('The client is closed.')
/** What can pass by itself. */
const temporary = ['unavailable', 'timeout', 'rate-limited']
/** How often a subscription is tried with tokens that the server does not accept. */
const refusedTokens = 3

export function createSubscriptions(setup: SubscriptionsSetup): ClientSubscriptions {
  const { backoff, ask } = setup
  const entries = new Map<string, Entry>()
  const queue: Entry[] = []
  let isOpen = false
  let isClosed = false
  let inProgress = 0
  /** Counts connections, so that what belongs to an earlier one is left out. */
  let connection = 0

  function enqueue(entry: Entry): void {
    clearTimeout(entry.timer)
    if (!isOpen || entry.state !== 'idle') return
    entry.state = 'queued'
    queue.push(entry)
    pump()
  }

  function pump(): void {
    while (inProgress < inProgressAtMost) {
      const entry = queue.shift()
      if (entry === undefined) return
      if (entry.state === 'queued') void request(entry)
    }
  }

  async function request(entry: Entry): Promise<void> {
    const current = connection
    const { channel } = entry
    const since = entry.position ?? entry.options.since
    entry.state = 'asked'
    inProgress++
    try {
      await ask({ type: 'subscribe', channel, ...(since ? { since } : {}) }, (answer) =>
        stands(entry, answer),
      )
    } catch (error) {
      if (current === connection && entry.state === 'asked') refused(entry, error as RealtimeClientError)
    }
    if (current !== connection) return
    inProgress--
    pump()
  }

  function stands(entry: Entry, answer: ServerMessage): void {
    if (answer.type !== 'subscribed' || entry.state !== 'asked') return
    entry.state = 'standing'
    entry.failures = 0
    const position = (entry.position = positionOf(answer))
    const { options } = entry
    entry.ready.resolve()
    const { recovered, present } = answer
    if (recovered === false) callBack(() => options.onLost?.(position))
    callBack(() => options.onSubscribed?.({ recovered, present }))
  }

  function later(entry: Entry, pause: number): void {
    entry.state = 'idle'
    clearTimeout(entry.timer)
    entry.timer = setTimeout(() => enqueue(entry), pause)
  }

  function refused(entry: Entry, error: RealtimeClientError): void {
    const pause = Math.max(error.retryAfter ?? 0, pauseBefore(entry.failures++, backoff))
    // One that has stood was allowed: what fails inside the server may pass.
    if (temporary.includes(error.kind) || (entry.position && error.kind === 'internal')) later(entry, pause)
    else if (error.kind === 'unauthenticated' && entry.failures <= refusedTokens) {
      entry.state = 'idle'
      void setup.onUnauthenticated().then((again) => {
        if (entry.state !== 'idle') return
        if (again) later(entry, pause)
        else end(entry, error)
      })
    } else if (error.code !== 'ERR_REALTIME_CLOSED') end(entry, error)
    else entry.state = 'idle'
  }

  function end(entry: Entry, error: RealtimeClientError): void {
    drop(entry)
    entry.ready.reject(error)
    callBack(() => entry.options.onEnded?.(error))
  }

  function drop(entry: Entry): void {
    clearTimeout(entry.timer)
    entry.state = 'ended'
    if (entries.get(entry.channel) === entry) entries.delete(entry.channel)
  }

  return {
    add(channel, options) {
      if (entries.has(channel))
        throw new TypeError(`There is a subscription to ${JSON.stringify(channel)} already.`)
      const ready = Promise.withResolvers<void>()
      ready.promise.catch(() => undefined)
      const entry: Entry = {
        channel,
        options,
        ready,
        position: undefined,
        state: 'idle',
        failures: 0,
        timer: undefined,
      }
      if (isClosed) {
        entry.state = 'ended'
        ready.reject(clientClosed())
      } else {
        entries.set(channel, entry)
        enqueue(entry)
      }
      return entry
    },
    remove(entry) {
      const { state, channel } = entry
      if (state === 'ended') return
      drop(entry)
      if (state === 'standing' || state === 'asked')
        ask({ type: 'unsubscribe', channel }, () => undefined).catch(() => undefined)
    },
    resume() {
      isOpen = true
      for (const entry of entries.values()) enqueue(entry)
    },
    interrupt() {
      isOpen = false
      connection++
      inProgress = 0
      queue.length = 0
      for (const entry of entries.values()) {
        clearTimeout(entry.timer)
        entry.state = 'idle'
      }
    },
    receive(message) {
      if (!('channel' in message)) return
      const entry = entries.get(message.channel)
      // What comes before the answer to a subscription is replayed after it.
      if (entry?.state !== 'standing') return
      const { options } = entry
      if (message.type === 'event') {
        const position = (entry.position = positionOf(message))
        callBack(() => options.onEvent(message.data, position))
      } else if (message.type === 'presence')
        callBack(() => options.onPresence?.(message.event, message.user))
      else if (message.type === 'ended') refused(entry, new RealtimeClientError(message.error))
      // What was left out may still be in the history. Spread, since it may concern all clients at once.
      else if (message.type === 'lost') later(entry, Math.random() * backoff.min)
    },
    close() {
      isClosed = true
      for (const entry of [...entries.values()]) end(entry, clientClosed())
    },
  }
}

function positionOf({ epoch, offset, tag }: EventPosition): EventPosition {
  return { epoch, offset, tag }
}
