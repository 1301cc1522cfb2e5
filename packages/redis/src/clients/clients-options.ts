import type { ConnectionOptions } from 'node:tls'
import type { Duration, Logger } from '@quintet/core'

/**
 * A text, or a secret that gives it on request, such as core's `Secret`. A secret is asked before each attempt to
 * connect, so a password can be rotated while the clients live.
 */
export type SecretText = string | { reveal(): string }

/** One named client. */
export interface ClientOptions {
  /** Logical database. A cluster has only 0. @defaultValue 0 */
  readonly db?: number
  /** Put before every key. @defaultValue `''`; in a cluster `'<name>:'` */
  readonly prefix?: string
  /** A server of its own for this client; replaces the common `url`. Not with sentinel or cluster. */
  readonly url?: SecretText
  /** Replaces the common {@link RedisClientsOptions.commandTimeout}. */
  readonly commandTimeout?: Duration
  /**
   * Whether the server may evict keys of this client when memory is short. With `'never'` the boot
   * check demands the policy `noeviction`.
   * @defaultValue `'allowed'`
   */
  readonly eviction?: 'never' | 'allowed'
}

export interface NodeAddress {
  readonly host: string
  readonly port: number
}

/** Where nodes are reached that announce an address of their own network: `{ '10.0.0.5:6379': { host, port } }`. */
export type NatMap = Readonly<Record<string, NodeAddress>>

export interface SentinelOptions {
  /** Name of the master group. */
  readonly name: string
  readonly nodes: readonly NodeAddress[]
  readonly username?: SecretText
  readonly password?: SecretText
  readonly natMap?: NatMap
}

export interface ClusterNodes {
  /**
   * Nodes to start from; the others are discovered. With TLS they are connected to by the name that they announce
   * (`cluster-preferred-endpoint-type hostname`), so that it is the one which their certificates are checked against.
   */
  readonly nodes: readonly NodeAddress[]
  readonly natMap?: NatMap
}

/** What all three ways to reach a server share. */
export interface CommonRedisClientsOptions<Name extends string> {
  /** The named clients. @defaultValue {@link defaultClients} */
  readonly clients?: Readonly<Record<Name, ClientOptions>>
  /** Replaces a user name in the URL. */
  readonly username?: SecretText
  /** Replaces a password in the URL. */
  readonly password?: SecretText
  /** Options of `node:tls`, e.g. `ca`. `rediss://` uses TLS without it. */
  readonly tls?: ConnectionOptions
  /**
   * `'eager'`: resolves when every client is connected. `'lazy'`: a client connects at its first command.
   * @defaultValue `'eager'`
   */
  readonly connect?: 'eager' | 'lazy'
  /** How long an eager start keeps trying, and how long one attempt may take. @defaultValue `'5s'` */
  readonly connectTimeout?: Duration
  /**
   * A command without an answer fails after this time. A connection on which nothing at all is
   * heard for twice this time while commands wait is given up and made anew.
   * @defaultValue `500`
   */
  readonly commandTimeout?: Duration
  /** Pauses between attempts to reconnect grow from `min` to `max`, with jitter. @defaultValue `{ min: 50, max: '2s' }` */
  readonly reconnect?: { readonly min?: Duration; readonly max?: Duration }
  /**
   * What to do when a server is too old or evicts keys it must not: `'refuse'` to start (and fail the
   * health check when a lazy or later connection finds it), `'warn'`, or `'off'`. Of a cluster every
   * master is asked.
   * @defaultValue `'warn'`
   */
  readonly bootCheck?: 'refuse' | 'warn' | 'off'
  /** Shown by `CLIENT LIST` as `<connectionName>:<client>`. @defaultValue `'quintet'` */
  readonly connectionName?: string
  readonly logger?: Logger
  /** Ends an eager start that still waits. */
  readonly signal?: AbortSignal
}

/** One server, or one per client. */
export interface ServerRedisClientsOptions<Name extends string> extends CommonRedisClientsOptions<Name> {
  /** `redis://[user[:password]@]host[:port]`, `rediss://…` for TLS, or the path of a unix socket. */
  readonly url: SecretText
  readonly sentinel?: undefined
  readonly cluster?: undefined
}

/** A master that sentinels know. */
export interface SentinelRedisClientsOptions<Name extends string> extends CommonRedisClientsOptions<Name> {
  readonly sentinel: SentinelOptions
  readonly url?: undefined
  readonly cluster?: undefined
}

/** A Redis Cluster. */
export interface ClusterRedisClientsOptions<Name extends string> extends CommonRedisClientsOptions<Name> {
  readonly cluster: ClusterNodes
  readonly url?: undefined
  readonly sentinel?: undefined
}

export type RedisClientsOptions<Name extends string = string> =
  | ServerRedisClientsOptions<Name>
  | SentinelRedisClientsOptions<Name>
  | ClusterRedisClientsOptions<Name>

export type DefaultClientName = 'sessions' | 'cache' | 'queue' | 'ratelimit' | 'locks'

/** The clients that exist when none are named. */
export const defaultClients: Readonly<Record<DefaultClientName, ClientOptions>> = Object.freeze({
  sessions: Object.freeze({ db: 0, eviction: 'never' }),
  cache: Object.freeze({ db: 1 }),
  queue: Object.freeze({ db: 2, eviction: 'never' }),
  ratelimit: Object.freeze({ db: 3 }),
  locks: Object.freeze({ db: 4, eviction: 'never' }),
})

export const redisClientsDefaults: Readonly<{
  connect: 'eager'
  connectTimeout: Duration
  commandTimeout: Duration
  reconnect: { readonly min: Duration; readonly max: Duration }
  bootCheck: 'warn'
  connectionName: string
}> = Object.freeze({
  connect: 'eager',
  connectTimeout: '5s',
  commandTimeout: 500,
  reconnect: Object.freeze({ min: 50, max: '2s' }),
  bootCheck: 'warn',
  connectionName: 'quintet',
})
