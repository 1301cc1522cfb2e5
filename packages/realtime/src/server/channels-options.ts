import type { Duration, Size } from '@quintet/core'
import { parseDuration, parseSize, refuseUnknownKeys } from '@quintet/core/kit'
import type { Channel } from '../channel/channel.ts'
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
  /** The most events that are replayed to one who comes back; who missed more is told so. @defaultValue 500 */
  readonly maxReplay?: number
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
  readonly slowConsumer: { readonly limit: number; readonly policy: 'disconnect' | 'skip' }
  readonly presenceTtl: number
  readonly recheck: number
}

export const channelsKeys = [
  'redis',
  'channels',
  'prefix',
  'maxSubscriptions',
  'maxPending',
  'maxReplay',
  'slowConsumer',
  'presenceTtl',
  'recheck',
] as const

/** @throws TypeError naming what is unknown, missing or out of range. */
export function resolveChannelsOptions(options: ChannelsOptions): ResolvedChannelsOptions {
  const path = 'channels'
  refuseUnknownKeys(options, channelsKeys, path)
  const { redis } = options
  if (typeof redis !== 'function') assertRedis(redis, path)
  if (!Array.isArray(options.channels) || options.channels.length === 0)
    throw new TypeError(`${path}.channels: give at least one channel().`)
  const patterns = options.channels.map((channel) => channel.pattern.text)
  const twice = patterns.find((pattern, index) => patterns.indexOf(pattern) !== index)
  if (twice !== undefined)
    throw new TypeError(`${path}.channels: two have the pattern ${JSON.stringify(twice)}.`)
  refuseUnknownKeys(options.slowConsumer ?? {}, ['limit', 'policy'], `${path}.slowConsumer`)
  const policy = options.slowConsumer?.policy ?? channelsDefaults.slowConsumer.policy
  if (policy !== 'disconnect' && policy !== 'skip')
    throw new TypeError(`${path}.slowConsumer.policy: must be 'disconnect' or 'skip'.`)
  const presenceTtl = parseDuration(
    options.presenceTtl ?? channelsDefaults.presenceTtl,
    `${path}.presenceTtl`,
  )
  if (presenceTtl < 100) throw new TypeError(`${path}.presenceTtl: must be 100 ms or more.`)
  return {
    redis: (services) => {
      if (typeof redis !== 'function') return redis
      const client = redis(services as never)
      assertRedis(client, path)
      return client
    },
    channels: options.channels,
    prefix: options.prefix ?? defaultPrefix,
    maxSubscriptions: positive(
      options.maxSubscriptions ?? channelsDefaults.maxSubscriptions,
      `${path}.maxSubscriptions`,
    ),
    maxPending: positive(options.maxPending ?? channelsDefaults.maxPending, `${path}.maxPending`),
    maxReplay: positive(options.maxReplay ?? channelsDefaults.maxReplay, `${path}.maxReplay`),
    slowConsumer: {
      limit: parseSize(
        options.slowConsumer?.limit ?? channelsDefaults.slowConsumer.limit,
        `${path}.slowConsumer.limit`,
      ),
      policy,
    },
    presenceTtl,
    recheck: parseDuration(options.recheck ?? channelsDefaults.recheck, `${path}.recheck`),
  }
}

function positive(value: number, path: string): number {
  if (Number.isInteger(value) && value > 0) return value
  throw new TypeError(`${path}: ${JSON.stringify(value)} is not a whole number above 0.`)
}

function assertRedis(redis: FannedRedis, path: string): void {
  if (typeof redis?.eval !== 'function' || typeof redis.duplicate !== 'function') {
    throw new TypeError(`${path}.redis: needs an ioredis client, or a function that returns one.`)
  }
}
