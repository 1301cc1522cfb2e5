import type { RedisOptions } from 'ioredis'
import { backoff } from './backoff.ts'
import { GuardedCluster, GuardedRedis } from './guarded-redis.ts'
import type { GuardedClient } from './guarded-redis.ts'
import type { ResolvedClient, ResolvedOptions } from './resolve-clients-options.ts'

export interface ConnectionKind {
  /**
   * For commands that wait on the server (`BLPOP`, `SUBSCRIBE`, BullMQ): no command timeout, and
   * commands queue for as long as the server is away.
   */
  readonly blocking: boolean
}

/** Makes the connection of one client; it connects at its first command or by `connect()`. */
export function createConnection(
  name: string,
  client: ResolvedClient,
  options: ResolvedOptions,
  { blocking }: ConnectionKind,
): GuardedClient {
  const settings = connectionSettings(name, client, options, blocking)
  if (options.target.kind === 'cluster') {
    const cluster = new GuardedCluster(
      options.target.nodes.map(({ host, port }) => ({ host, port })),
      {
        keyPrefix: client.prefix,
        clusterRetryStrategy: backoff(options.reconnect),
        slotsRefreshTimeout: client.commandTimeout,
        // As below: not sent again to another node, since the lost one may have run it.
        ...(blocking ? {} : { retryDelayOnFailover: 0 }),
        ...(options.target.natMap === undefined ? {} : { natMap: options.target.natMap }),
        // Certificates are checked against the name, so it must not be resolved to an address before.
        ...('tls' in settings ? { dnsLookup: (host, done) => done(null, host) } : {}),
        redisOptions: settings,
      },
      blocking,
      client.credentials,
    )
    cluster.on('-node', () => {
      if (cluster.status === 'ready') cluster.refreshSlotsCache()
    })
    return cluster
  }
  return new GuardedRedis(
    { ...settings, keyPrefix: client.prefix, db: client.db, retryStrategy: backoff(options.reconnect) },
    blocking,
    client.credentials,
  )
}

function connectionSettings(
  name: string,
  client: ResolvedClient,
  options: ResolvedOptions,
  blocking: boolean,
): Omit<RedisOptions, 'replyMapping'> {
  const { target, tls } = options
  const address = client.address
  const useTls = tls !== undefined || (address !== undefined && 'tls' in address && address.tls)
  return {
    ...(address === undefined
      ? {}
      : 'socketPath' in address
        ? { path: address.socketPath }
        : { host: address.host, port: address.port }),
    ...(target.kind === 'sentinel'
      ? {
          name: target.name,
          sentinels: target.nodes.map(({ host, port }) => ({ host, port })),
          ...(target.natMap === undefined ? {} : { natMap: target.natMap }),
          sentinelRetryStrategy: backoff(options.reconnect),
          sentinelCommandTimeout: client.commandTimeout,
          enableTLSForSentinelMode: useTls,
        }
      : {}),
    ...(useTls ? { tls: tls ?? {} } : {}),
    connectionName: `${options.connectionName}:${name}`,
    connectTimeout: options.connectTimeout,
    // RESP2 costs less CPU per reply, and under RESP3 ioredis 6 drops the pushes that it does not know.
    protocol: 2,
    // After a failover we may still talk to the former master: the next connection finds the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    ...(blocking
      ? { maxRetriesPerRequest: null }
      : {
          // A command in flight when the connection breaks may have run: it fails and is never sent twice.
          maxRetriesPerRequest: 0,
          commandTimeout: client.commandTimeout,
          socketTimeout: client.commandTimeout * 2,
          // How long a connection that was given up may linger before it is destroyed.
          disconnectTimeout: client.commandTimeout,
        }),
  }
}
