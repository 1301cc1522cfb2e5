export { channel, channelDefaults } from './channel/channel.ts'
export type { Channel, ChannelMessage, ChannelOptions, ChannelRequest } from './channel/channel.ts'
export type { ChannelParams, ChannelPattern } from './channel/channel-pattern.ts'
export { channels } from './server/channels.ts'
export {
  channelsDefaults,
  type ChannelsOptions,
  type SlowConsumerOptions,
} from './server/channels-options.ts'
export { createHub, hubDefaults, type Hub, type HubOptions } from './hub/hub.ts'
export {
  createPublisher,
  type Publisher,
  type PublisherOptions,
  type PublishTarget,
} from './server/publisher.ts'
export type { FannedRedis, RealtimeRedis, SubscriberRedis } from './topic/redis-port.ts'
export {
  realtimeProtocolName,
  type ClientMessage,
  type MessageId,
  type ServerMessage,
} from './wire/messages.ts'
export { RealtimeError, type RealtimeErrorCode } from './errors.ts'
export type { History, HistoryOptions } from './channel/history.ts'
export type { EventPosition } from './wire/event-position.ts'
export type { WireError } from './wire/wire-error.ts'
