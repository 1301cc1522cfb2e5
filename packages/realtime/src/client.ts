export { createRealtimeClient } from './client/create-realtime-client.ts'
export { RealtimeClientError } from './client/client-error.ts'
export type {
  ClientSubscription,
  RealtimeClient,
  RealtimeClientOptions,
  RealtimeStatus,
  StatusReason,
  SubscribeOptions,
  TokenSource,
} from './client/client-options.ts'
