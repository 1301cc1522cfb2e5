import type { ConnectionOptions } from 'node:tls'
import { type Duration, type Logger, silentLogger } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { defaultClients, redisClientsDefaults } from './options.ts'
import type { ClientOptions, NodeAddress, RedisClientsOptions, SecretText } from './options.ts'
import { parseServerUrl } from './server-url.ts'
import type { ServerAddress } from './server-url.ts'

/** Where the servers are. */
type Target =
  | { readonly kind: 'server' }
  | {
      readonly kind: 'sentinel'
      readonly name: string
      readonly nodes: readonly NodeAddress[]
      readonly username?: string
      readonly password?: string
    }
  | { readonly kind: 'cluster'; readonly nodes: readonly NodeAddress[] }

export interface ResolvedClient {
  readonly db: number
  readonly prefix: string
  /** Only with target `server`. */
  readonly address: ServerAddress | undefined
  readonly commandTimeout: number
  readonly mayEvict: boolean
}

export interface ResolvedOptions {
  readonly target: Target
  readonly clients: ReadonlyMap<string, ResolvedClient>
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: ConnectionOptions | undefined
  readonly connect: 'eager' | 'lazy'
  readonly connectTimeout: number
  readonly reconnect: { readonly min: number; readonly max: number }
  readonly bootCheck: 'refuse' | 'warn' | 'off'
  readonly connectionName: string
  readonly logger: Logger
  readonly signal: AbortSignal | undefined
}

const knownKeys = [
  'url',
  'sentinel',
  'cluster',
  'clients',
  'username',
  'password',
  'tls',
  'connect',
  'connectTimeout',
  'commandTimeout',
  'reconnect',
  'bootCheck',
  'connectionName',
  'logger',
  'signal',
]

const path = 'createRedisClients'

export function resolveRedisClientsOptions(options: RedisClientsOptions): ResolvedOptions {
  refuseUnknownKeys(options, knownKeys, path)
  const target = resolveTarget(options)
  const commandTimeout = parseTimeout(
    options.commandTimeout ?? redisClientsDefaults.commandTimeout,
    `${path}.commandTimeout`,
  )
  const { url } = options
  const clients = new Map<string, ResolvedClient>()
  for (const [name, client] of Object.entries(options.clients ?? defaultClientsFor(target))) {
    clients.set(name, resolveClient(name, client, target, url, commandTimeout))
  }
  if (clients.size === 0) throw new TypeError(`${path}.clients: name at least one client.`)
  refuseUnknownKeys(options.reconnect ?? {}, ['min', 'max'], `${path}.reconnect`)
  const min = parseDuration(
    options.reconnect?.min ?? redisClientsDefaults.reconnect.min,
    `${path}.reconnect.min`,
  )
  const max = parseDuration(
    options.reconnect?.max ?? redisClientsDefaults.reconnect.max,
    `${path}.reconnect.max`,
  )
  if (max < min) throw new TypeError(`${path}.reconnect: max (${max} ms) is below min (${min} ms).`)
  return {
    target,
    clients,
    username: reveal(options.username),
    password: reveal(options.password),
    tls: options.tls,
    connect: oneOf(options.connect ?? redisClientsDefaults.connect, ['eager', 'lazy'], `${path}.connect`),
    connectTimeout: parseTimeout(
      options.connectTimeout ?? redisClientsDefaults.connectTimeout,
      `${path}.connectTimeout`,
    ),
    reconnect: { min, max },
    bootCheck: oneOf(
      options.bootCheck ?? redisClientsDefaults.bootCheck,
      ['refuse', 'warn', 'off'],
      `${path}.bootCheck`,
    ),
    connectionName: options.connectionName ?? redisClientsDefaults.connectionName,
    logger: options.logger ?? silentLogger,
    signal: options.signal,
  }
}

function resolveTarget(options: RedisClientsOptions): Target {
  const given = ['url', 'sentinel', 'cluster'].filter(
    (key) => (options as unknown as Record<string, unknown>)[key] !== undefined,
  )
  if (given.length !== 1) {
    throw new TypeError(
      `${path}: give exactly one of url, sentinel and cluster${given.length === 0 ? '.' : `, not ${given.join(' and ')}.`}`,
    )
  }
  const { sentinel, cluster } = options
  if (sentinel !== undefined) {
    refuseUnknownKeys(sentinel, ['name', 'nodes', 'username', 'password'], `${path}.sentinel`)
    const username = reveal(sentinel.username)
    const password = reveal(sentinel.password)
    return {
      kind: 'sentinel',
      name: sentinel.name,
      nodes: checkNodes(sentinel.nodes, `${path}.sentinel.nodes`),
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
    }
  }
  if (cluster !== undefined) {
    refuseUnknownKeys(cluster, ['nodes'], `${path}.cluster`)
    return { kind: 'cluster', nodes: checkNodes(cluster.nodes, `${path}.cluster.nodes`) }
  }
  return { kind: 'server' }
}

function checkNodes(nodes: readonly NodeAddress[], at: string): readonly NodeAddress[] {
  if (!Array.isArray(nodes) || nodes.length === 0)
    throw new TypeError(`${at}: give at least one { host, port }.`)
  return nodes.map((node: NodeAddress, index) => {
    refuseUnknownKeys(node, ['host', 'port'], `${at}[${index}]`)
    return { host: node.host, port: node.port }
  })
}

function defaultClientsFor(target: Target): Readonly<Record<string, ClientOptions>> {
  if (target.kind !== 'cluster') return defaultClients
  const inDatabaseZero = Object.entries(defaultClients).map(([name, client]) => [name, { ...client, db: 0 }])
  // BullMQ refuses clients with a prefix; it has one of its own.
  return { ...Object.fromEntries(inDatabaseZero), queue: { ...defaultClients.queue, db: 0, prefix: '' } }
}

function resolveClient(
  name: string,
  client: ClientOptions,
  target: Target,
  commonUrl: SecretText | undefined,
  commonTimeout: number,
): ResolvedClient {
  const at = `${path}.clients.${name}`
  refuseUnknownKeys(client, ['db', 'prefix', 'url', 'commandTimeout', 'eviction'], at)
  const db = client.db ?? 0
  if (!Number.isSafeInteger(db) || db < 0)
    throw new TypeError(`${at}.db: ${JSON.stringify(db)} is not a database number.`)
  if (target.kind === 'cluster' && db !== 0) {
    throw new TypeError(`${at}.db: a cluster has only database 0, not ${db}. Tell clients apart by prefix.`)
  }
  if (target.kind !== 'server' && client.url !== undefined) {
    throw new TypeError(`${at}.url: a client of a ${target.kind} has no URL of its own.`)
  }
  const url = reveal(client.url ?? commonUrl)
  const eviction = oneOf(client.eviction ?? 'allowed', ['never', 'allowed'], `${at}.eviction`)
  return {
    db,
    prefix: client.prefix ?? (target.kind === 'cluster' ? `${name}:` : ''),
    address:
      url === undefined
        ? undefined
        : parseServerUrl(url, client.url === undefined ? `${path}.url` : `${at}.url`),
    commandTimeout:
      client.commandTimeout === undefined
        ? commonTimeout
        : parseTimeout(client.commandTimeout, `${at}.commandTimeout`),
    mayEvict: eviction === 'allowed',
  }
}

function parseTimeout(value: Duration, at: string): number {
  const ms = parseDuration(value, at)
  if (ms < 1) throw new TypeError(`${at}: at least 1 ms is needed.`)
  return ms
}

function oneOf<const Value extends string>(value: Value, allowed: readonly Value[], at: string): Value {
  if (allowed.includes(value)) return value
  throw new TypeError(
    `${at}: ${JSON.stringify(value)} is not one of ${allowed.map((each) => `'${each}'`).join(', ')}.`,
  )
}

function reveal(text: SecretText | undefined): string | undefined {
  return typeof text === 'object' ? text.reveal() : text
}
