import type { Size } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { assertChannelName } from '../channel/channel-pattern.ts'
import { channelDefaults, type Channel } from '../channel/channel.ts'
import { publishEvent } from '../topic/event-log.ts'
import { eraseHistories } from '../topic/history-index.ts'
import { defaultPrefix } from './channels-options.ts'
import type { RealtimeRedis } from '../topic/redis-port.ts'
import { topicKeys, type TopicKeys } from '../topic/topic-keys.ts'
import { historyOption, type HistoryOptions } from '../channel/history.ts'
import { channelsOption } from '../channel/channels-option.ts'
import type { EventPosition } from '../wire/event-position.ts'
import { findChannel } from '../channel/find-channel.ts'
import { toEventJson } from '../wire/event-json.ts'

export interface PublisherOptions {
  /** An ioredis client; it stays its owner's. */
  readonly redis: RealtimeRedis
  /** The same as that of `channels()`. @defaultValue `'rt'` */
  readonly prefix?: string
  /** The definitions, for the history and the scope of each channel. Without them every channel of the prefix can be published to. */
  readonly channels?: readonly Channel[]
  /** The history of channels whose definition is not given. */
  readonly history?: false | HistoryOptions
  /** The largest event of channels whose definition is not given, as JSON. @defaultValue `'256kb'` */
  readonly maxEventSize?: Size
}

export interface PublishTarget {
  /** Whose channel; null for a channel of all tenants. */
  readonly tenantId: string | null
}

/** Sends events to channels from any process: a queue worker, an outbox relay, a script. */
export interface Publisher {
  /**
   * @param event is sent as JSON.
   * @throws RealtimeError `ERR_REALTIME_UNKNOWN_CHANNEL`, `ERR_REALTIME_BAD_MESSAGE`, `ERR_REALTIME_TOO_LARGE`, `ERR_REALTIME_UNAVAILABLE`
   */
  publish(channel: string, target: PublishTarget, event: unknown): Promise<EventPosition>
  /**
   * Erases the histories of all channels of a tenant; with a text, such as the id of a user who has been removed, of those whose
   * name or one of whose events contains it. Subscribers stay, and who comes back is told that events are missing.
   *
   * @returns how many.
   * @throws RealtimeError `ERR_REALTIME_UNAVAILABLE`
   */
  eraseHistories(target: PublishTarget, containing?: string): Promise<number>
}

const spec = {
  redis: option.collaborator<RealtimeRedis>(['eval'], 'an ioredis client'),
  prefix: option.text(defaultPrefix),
  channels: channelsOption.optional(),
  history: historyOption,
  maxEventSize: option.size(channelDefaults.maxEventSize, { min: 1 }),
}

/** @throws TypeError when an option is unknown, missing or out of range. */
export function createPublisher(options: PublisherOptions): Publisher {
  const { redis, prefix, channels, history, maxEventSize } = readOptions(options, spec, 'publisher')
  const topicOf = (
    name: string,
    target: PublishTarget,
  ): { readonly keys: TopicKeys; readonly definition: Channel | undefined } => {
    assertChannelName(name)
    const definition = channels && findChannel(channels, name).channel
    assertTarget(target, definition)
    return { keys: topicKeys(redis, prefix, target.tenantId, name), definition }
  }
  return {
    async publish(name, target, event) {
      const { keys, definition } = topicOf(name, target)
      const data = toEventJson(event, definition?.maxEventSize ?? maxEventSize)
      return publishEvent(redis, keys, definition?.history ?? history, data)
    },
    async eraseHistories(target, containing) {
      assertTarget(target, undefined)
      return eraseHistories(redis, prefix, target.tenantId, containing)
    },
  }
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
