export { createRedisClients } from './redis-clients.ts'
export type { DuplicateOptions, RedisClients } from './redis-clients.ts'
export { defaultClients, redisClientsDefaults } from './options.ts'
export type {
  ClientOptions,
  ClusterNodes,
  ClusterRedisClientsOptions,
  CommonRedisClientsOptions,
  DefaultClientName,
  NodeAddress,
  RedisClientsOptions,
  SecretText,
  SentinelOptions,
  SentinelRedisClientsOptions,
  ServerRedisClientsOptions,
} from './options.ts'
export type { Circuit, CircuitState } from './circuit.ts'
export type { RedisHealthCheckOptions } from './health-check.ts'
export { isRedisUnavailable, RedisError, toRedisError } from './errors.ts'
export type { RedisErrorCode } from './errors.ts'
export { createScript } from './script.ts'
export type { Script, ScriptClient } from './script.ts'

export { createPubSub, pubSubDefaults } from './pub-sub.ts'
export type { PubSub, PubSubMessage, PubSubOptions, SubscribeOptions, Subscription } from './pub-sub.ts'
export { createLocks, locksDefaults } from './locks.ts'
export type { AcquireOptions, Locks, LocksOptions } from './locks.ts'
export type { Lock } from './held-lock.ts'
export { createJsonCache, jsonCacheDefaults } from './json-cache.ts'
export type { JsonCache, JsonCacheClient, JsonCacheOptions } from './json-cache.ts'
export { createRateLimiter, rateLimiterDefaults } from './rate-limiter.ts'
export type {
  ConsumeOptions,
  RateLimit,
  RateLimiter,
  RateLimiterOptions,
  RateLimitResult,
} from './rate-limiter.ts'
export { rateLimitHeaders } from './rate-limit-headers.ts'
export type { RateLimitHeadersOptions } from './rate-limit-headers.ts'
export { createTrackedCache, trackedCacheDefaults } from './tracked-cache.ts'
export type { TrackedCache, TrackedCacheOptions } from './tracked-cache.ts'
