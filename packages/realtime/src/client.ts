export {
  createRealtimeClient,
  RealtimeClientError,
  type ClientSubscription,
  type RealtimeClient,
  type RealtimeClientOptions,
  type RealtimeStatus,
  type SubscribeOptions,
} from './client/create-realtime-client.ts'
