export { channel, channelDefaults } from './channel.ts'
export type {
  Channel,
  ChannelMessage,
  ChannelOptions,
  ChannelRequest,
  History,
  HistoryOptions,
} from './channel.ts'
export type { ChannelParams, ChannelPattern } from './channel-pattern.ts'
export { channels } from './channels.ts'
export { channelsDefaults, type ChannelsOptions, type SlowConsumerOptions } from './options.ts'
export { createHub, hubDefaults, type Hub, type HubOptions } from './hub.ts'
export { createPublisher, type Publisher, type PublisherOptions, type PublishTarget } from './publisher.ts'
export type { EventPosition } from './event-log.ts'
export type { FannedRedis, RealtimeRedis, SubscriberRedis } from './redis-port.ts'
export {
  realtimeProtocolName,
  type ClientMessage,
  type MessageId,
  type ServerMessage,
  type WireError,
} from './wire.ts'
export { RealtimeError, type RealtimeErrorCode } from './errors.ts'
