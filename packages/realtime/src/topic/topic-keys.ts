import type { RealtimeRedis } from './redis-port.ts'

/** Where one channel of one tenant lives in Redis. All keys share a hash tag, for Redis Cluster. */
export interface TopicKeys {
  readonly events: string
  readonly meta: string
  readonly presence: string
  /** The pub/sub channel. */
  readonly feed: string
  /** Which channels of the same tenant have a history. */
  readonly index: string
  readonly channel: string
}

/**
 * The keys of a channel. The tenant is part of every key and comes from the principal alone; it is escaped, so that
 * no tenant id and no channel name can spell another tenant's.
 *
 * @param redis the client, whose `keyPrefix` is added to every key by itself, but not to a pub/sub channel.
 * @param tenantId null for a channel of all tenants.
 */
export function topicKeys(
  redis: RealtimeRedis,
  prefix: string,
  tenantId: string | null,
  channel: string,
): TopicKeys {
  const scope = scopeOf(tenantId)
  const tag = `{${scope}:${channel}}`
  return {
    events: `${prefix}:e:${tag}`,
    meta: `${prefix}:m:${tag}`,
    presence: `${prefix}:p:${tag}`,
    feed: `${redis.options?.keyPrefix ?? ''}${prefix}:f:${tag}`,
    index: historyIndex(prefix, tenantId),
    channel,
  }
}

/** The key of the index of all channels of a tenant that have a history. */
export function historyIndex(prefix: string, tenantId: string | null): string {
  return `${prefix}:h:{${scopeOf(tenantId)}}`
}

function scopeOf(tenantId: string | null): string {
  return tenantId === null ? 'all' : `t.${encodeURIComponent(tenantId)}`
}
