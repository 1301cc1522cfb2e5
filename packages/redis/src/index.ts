export { createRedisClients } from './clients/create-redis-clients.ts'
export type { DuplicateOptions, RedisClients } from './clients/create-redis-clients.ts'
export { defaultClients, redisClientsDefaults } from './clients/clients-options.ts'
export type {
  ClientOptions,
  ClusterNodes,
  ClusterRedisClientsOptions,
  CommonRedisClientsOptions,
  DefaultClientName,
  NatMap,
  NodeAddress,
  RedisClientsOptions,
  SecretText,
  SentinelOptions,
  SentinelRedisClientsOptions,
  ServerRedisClientsOptions,
} from './clients/clients-options.ts'
export type { Circuit, CircuitState } from './clients/circuit.ts'
export type { RedisHealthCheckOptions } from './clients/health-check.ts'
export { isRedisUnavailable, RedisError } from './errors.ts'
export type { RedisErrorCode } from './errors.ts'
export type { ScriptClient } from './commands/script.ts'

export { createPubSub, pubSubDefaults } from './pubsub/pub-sub.ts'
export type {
  PubSub,
  PubSubMessage,
  PubSubOptions,
  SubscribeOptions,
  Subscription,
} from './pubsub/pub-sub.ts'
export { createLocks, locksDefaults } from './locks/locks.ts'
export type { AcquireOptions, Locks, LocksOptions } from './locks/locks.ts'
export type { Lock } from './locks/held-lock.ts'
export { createJsonCache, jsonCacheDefaults } from './caches/json-cache.ts'
export type { JsonCache, JsonCacheClient, JsonCacheOptions, Load } from './caches/json-cache.ts'
export { createRateLimiter, rateLimiterDefaults } from './limits/rate-limiter.ts'
export type {
  ConsumeOptions,
  RateLimit,
  RateLimiter,
  RateLimiterOptions,
  RateLimitResult,
} from './limits/rate-limiter.ts'
export { rateLimitHeaders } from './limits/rate-limit-headers.ts'
export type { RateLimitHeadersOptions } from './limits/rate-limit-headers.ts'
export { createTrackedCache, trackedCacheDefaults } from './caches/tracked-cache.ts'
export type { TrackedCache, TrackedCacheOptions } from './caches/tracked-cache.ts'
