import type { Duration, Size } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import type { Channel } from '../channel/channel.ts'
import { channelsOption } from '../channel/channels-option.ts'
import type { FannedRedis } from '../topic/redis-port.ts'

export interface ChannelsOptions {
  /**
   * An ioredis client, or how to get it from what `setup` returned; it stays its owner's. A second connection is made
   * from it by `duplicate()`.
   */
  readonly redis: FannedRedis | ((services: never) => FannedRedis)
  readonly channels: readonly Channel[]
  /** What all keys start with. @defaultValue `'rt'` */
  readonly prefix?: string
  /** Channels that one connection may be subscribed to. @defaultValue 100 */
  readonly maxSubscriptions?: number
  /** Messages of one connection in progress at once. @defaultValue 32 */
  readonly maxPending?: number
  /** The most events that are replayed to a client that comes back; one that missed more is told so. @defaultValue 500 */
  readonly maxReplay?: number
  /** The most that is replayed to it, all events together. @defaultValue `'4mb'` */
  readonly maxReplaySize?: Size
  /** What to do with a client that does not read. */
  readonly slowConsumer?: SlowConsumerOptions
  /** How long a member is counted present without a sign of life of its instance. @defaultValue `'30s'` */
  readonly presenceTtl?: Duration
  /** How often every subscription is checked again: the session, the access rule and `authorize`. 0 for never. @defaultValue `'60s'` */
  readonly recheck?: Duration
}

export interface SlowConsumerOptions {
  /** How much may wait to be sent. @defaultValue `'1mb'` */
  readonly limit?: Size
  /**
   * `'disconnect'`: close with 4008; the client comes back and resumes. `'skip'`: leave events out until there is room,
   * then say from where, so that the client can resume. @defaultValue `'disconnect'`
   */
  readonly policy?: 'disconnect' | 'skip'
}

export const defaultPrefix = 'rt'

export const channelsDefaults = Object.freeze({
  prefix: defaultPrefix,
  maxSubscriptions: 100,
  maxPending: 32,
  maxReplay: 500,
  maxReplaySize: '4mb',
  slowConsumer: Object.freeze({ limit: '1mb', policy: 'disconnect' }),
  presenceTtl: '30s',
  recheck: '60s',
} as const)

export interface ResolvedChannelsOptions {
  readonly redis: (services: unknown) => FannedRedis
  readonly channels: readonly Channel[]
  readonly prefix: string
  readonly maxSubscriptions: number
  readonly maxPending: number
  readonly maxReplay: number
  readonly maxReplaySize: number
  readonly slowConsumer: { readonly limit: number; readonly policy: 'disconnect' | 'skip' }
  readonly presenceTtl: number
  readonly recheck: number
}

const redisClient = option.collaborator<FannedRedis>(['eval', 'duplicate'], 'an ioredis client')

export const channelsSpec = {
  redis: option.either(redisClient, option.function<(services: never) => FannedRedis>()),
  channels: channelsOption,
  prefix: option.text(channelsDefaults.prefix),
  maxSubscriptions: option.count(channelsDefaults.maxSubscriptions, { min: 1 }),
  maxPending: option.count(channelsDefaults.maxPending, { min: 1 }),
  maxReplay: option.count(channelsDefaults.maxReplay, { min: 1 }),
  maxReplaySize: option.size(channelsDefaults.maxReplaySize, { min: 1 }),
  slowConsumer: option.nested({
    limit: option.size(channelsDefaults.slowConsumer.limit),
    policy: option.oneOf(['disconnect', 'skip'], channelsDefaults.slowConsumer.policy),
  }),
  presenceTtl: option.delay(channelsDefaults.presenceTtl, { min: 100 }),
  recheck: option.delay(channelsDefaults.recheck),
}

/** @throws TypeError naming what is unknown, missing or out of range. */
export function resolveChannelsOptions(options: ChannelsOptions): ResolvedChannelsOptions {
  const resolved = readOptions(options, channelsSpec, 'channels')
  return { ...resolved, redis: findRedis(resolved.redis, 'channels') }
}

/** The client itself, or what the function returns for the services of a process. */
export function findRedis(
  redis: FannedRedis | ((services: never) => FannedRedis),
  path: string,
): (services: unknown) => FannedRedis {
  if (typeof redis !== 'function') return () => redis
  return (services) => readOptions({ redis: redis(services as never) }, { redis: redisClient }, path).redis
}
