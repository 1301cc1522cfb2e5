import type { ConnectionOptions } from 'node:tls'
import { type Duration, type Logger, silentLogger } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { defaultClients, redisClientsDefaults } from './clients-options.ts'
import type { ReadCredentials } from './guarded-redis.ts'
import type {
  ClientOptions,
  NatMap,
  NodeAddress,
  RedisClientsOptions,
  SecretText,
} from './clients-options.ts'
import { parseServerUrl } from './server-url.ts'
import type { ServerAddress } from './server-url.ts'

/** Where the servers are. */
type Target =
  | { readonly kind: 'server' }
  | {
      readonly kind: 'sentinel'
      readonly name: string
      readonly nodes: readonly NodeAddress[]
      readonly natMap: NatMap | undefined
    }
  | { readonly kind: 'cluster'; readonly nodes: readonly NodeAddress[]; readonly natMap: NatMap | undefined }

export interface ResolvedClient {
  readonly db: number
  readonly prefix: string
  /** Only with target `server`. */
  readonly address: ServerAddress | undefined
  /** Reads the secrets as they are now. */
  readonly credentials: ReadCredentials
  readonly commandTimeout: number
  readonly mayEvict: boolean
}

export interface ResolvedOptions {
  readonly target: Target
  readonly clients: ReadonlyMap<string, ResolvedClient>
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
  const clients = new Map<string, ResolvedClient>()
  for (const [name, client] of Object.entries(options.clients ?? defaultClientsFor(target))) {
    clients.set(name, resolveClient(name, client, target, options, commandTimeout))
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
    refuseUnknownKeys(sentinel, ['name', 'nodes', 'username', 'password', 'natMap'], `${path}.sentinel`)
    return {
      kind: 'sentinel',
      name: sentinel.name,
      nodes: checkNodes(sentinel.nodes, `${path}.sentinel.nodes`),
      natMap: checkNatMap(sentinel.natMap, `${path}.sentinel.natMap`),
    }
  }
  if (cluster !== undefined) {
    refuseUnknownKeys(cluster, ['nodes', 'natMap'], `${path}.cluster`)
    return {
      kind: 'cluster',
      nodes: checkNodes(cluster.nodes, `${path}.cluster.nodes`),
      natMap: checkNatMap(cluster.natMap, `${path}.cluster.natMap`),
    }
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

function checkNatMap(natMap: NatMap | undefined, at: string): NatMap | undefined {
  if (natMap === undefined) return undefined
  for (const [announced, node] of Object.entries(natMap)) {
    if (!/:\d+$/.test(announced))
      throw new TypeError(`${at}: "${announced}" is not host:port as a node announces it.`)
    refuseUnknownKeys(node, ['host', 'port'], `${at}["${announced}"]`)
  }
  return natMap
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
  common: RedisClientsOptions,
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
  const given = client.url ?? common.url
  const urlPath = client.url === undefined ? `${path}.url` : `${at}.url`
  const address = given === undefined ? undefined : parseServerUrl(reveal(given), urlPath)
  const eviction = oneOf(client.eviction ?? 'allowed', ['never', 'allowed'], `${at}.eviction`)
  return {
    db,
    prefix: client.prefix ?? (target.kind === 'cluster' ? `${name}:` : ''),
    address,
    credentials: readCredentials(common, given, urlPath),
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

/** What is given beside the URL wins over what the URL holds. */
function readCredentials(
  { username, password, sentinel }: RedisClientsOptions,
  url: SecretText | undefined,
  urlPath: string,
): ReadCredentials {
  const known = (key: string, text: SecretText | undefined): Record<string, string> =>
    text === undefined ? {} : { [key]: reveal(text) }
  return () => {
    const address = url === undefined ? undefined : parseServerUrl(reveal(url), urlPath)
    return {
      ...known('username', username ?? address?.username),
      ...known('password', password ?? address?.password),
      ...known('sentinelUsername', sentinel?.username),
      ...known('sentinelPassword', sentinel?.password),
    }
  }
}

function reveal(text: SecretText): string {
  return typeof text === 'object' ? text.reveal() : text
}
