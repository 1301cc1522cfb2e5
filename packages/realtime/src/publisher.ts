import { refuseUnknownKeys } from '@quintet/core/kit'
import { assertChannelName } from './channel-pattern.ts'
import { resolveHistory, type Channel, type HistoryOptions } from './channel.ts'
import { RealtimeError } from './errors.ts'
import { publishEvent, type EventPosition } from './event-log.ts'
import { defaultPrefix } from './options.ts'
import type { RealtimeRedis } from './redis-port.ts'
import { topicKeys } from './topic-keys.ts'

export interface PublisherOptions {
  /** An ioredis client; it stays its owner's. */
  readonly redis: RealtimeRedis
  /** The same as that of `channels()`. @defaultValue `'rt'` */
  readonly prefix?: string
  /** The definitions, for the history and the scope of each channel. Without them every channel of the prefix can be published to. */
  readonly channels?: readonly Channel[]
  /** The history of channels whose definition is not given. */
  readonly history?: false | HistoryOptions
}

export interface PublishTarget {
  /** Whose channel; null for a channel of all tenants. */
  readonly tenantId: string | null
}

/** Sends events to channels from any process: a queue worker, an outbox relay, a script. */
export interface Publisher {
  /**
   * @param event is sent as JSON.
   * @throws RealtimeError `ERR_REALTIME_UNKNOWN_CHANNEL`, `ERR_REALTIME_BAD_MESSAGE`, `ERR_REALTIME_UNAVAILABLE`
   */
  publish(channel: string, target: PublishTarget, event: unknown): Promise<EventPosition>
}

export function createPublisher(options: PublisherOptions): Publisher {
  refuseUnknownKeys(options, ['redis', 'prefix', 'channels', 'history'], 'publisher')
  const prefix = options.prefix ?? defaultPrefix
  const fallback = resolveHistory(options.history, 'publisher.history')
  return {
    async publish(name, target, event) {
      assertChannelName(name)
      const definition = options.channels && findChannel(options.channels, name).channel
      assertTarget(target, definition)
      return publishEvent(
        options.redis,
        topicKeys(prefix, target.tenantId, name),
        definition?.history ?? fallback,
        toJson(event),
      )
    },
  }
}

/** @throws RealtimeError `ERR_REALTIME_UNKNOWN_CHANNEL` */
export function findChannel(
  channels: readonly Channel[],
  name: string,
): { readonly channel: Channel; readonly params: Readonly<Record<string, string>> } {
  for (const channel of channels) {
    const params = channel.pattern.match(name)
    if (params) return { channel, params }
  }
  throw new RealtimeError('ERR_REALTIME_UNKNOWN_CHANNEL', `There is no channel ${JSON.stringify(name)}.`)
}

/** @throws RealtimeError `ERR_REALTIME_BAD_MESSAGE` for what JSON cannot hold. */
export function toJson(event: unknown): string {
  let text: string | undefined
  let cause: unknown
  try {
    text = JSON.stringify(event)
  } catch (error) {
    cause = error
  }
  if (text === undefined)
    throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'The event cannot be written as JSON.', { cause })
  return text
}

function assertTarget(target: PublishTarget, definition: Channel | undefined): void {
  const { tenantId } = target
  if (tenantId !== null && (typeof tenantId !== 'string' || tenantId === '')) {
    throw new TypeError('publish: tenantId must be the id of a tenant, or null for a channel of all tenants.')
  }
  if (definition && (tenantId === null) !== (definition.scope === 'global')) {
    const wanted =
      definition.scope === 'global'
        ? 'belongs to all tenants: give tenantId: null'
        : 'belongs to a tenant: give its tenantId'
    throw new TypeError(`publish: the channel ${JSON.stringify(definition.pattern.text)} ${wanted}.`)
  }
}
