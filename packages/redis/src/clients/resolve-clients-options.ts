import type { ConnectionOptions } from 'node:tls'
import type { Logger } from '@quintet/core'
import {
  type NoteProblem,
  option,
  parseDuration,
  readOptions,
  type ResolvedOptions as OptionValues,
} from '@quintet/core/kit'
import { defaultClients, redisClientsDefaults } from './clients-options.ts'
import type { ReadCredentials } from './guarded-redis.ts'
import type {
  ClientOptions,
  NatMap,
  NodeAddress,
  RedisClientsOptions,
  SecretText,
} from './clients-options.ts'
import { isPromise } from '../commands/parsed.ts'
import { prefixOption } from '../commands/script.ts'
import { describeFailure } from '../errors.ts'
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

const defaults = redisClientsDefaults

const timeoutOption = option.delay(undefined, { min: 1 })

/** As it was given: a secret is asked anew at each attempt to connect. */
const secretOption = option.parsed<SecretText>('a text, or a secret with reveal()', (given, at) => {
  if (typeof given === 'string') return given
  if (typeof (given as { reveal?: unknown } | null)?.reveal === 'function') return given as SecretText
  throw new TypeError(`${at}: this is no text, and no secret with reveal().`)
})

const nodeOption = option.nested({ host: option.host(), port: option.port() })

const nodesSpec = {
  nodes: option.list(nodeOption, { min: 1 }),
  natMap: option
    .record(nodeOption, {
      key: option.text(undefined, { pattern: /:\d+$/, expected: 'host:port as a node announces it' }),
    })
    .optional(),
}

const clientOption = option.nested({
  db: option.count(0),
  prefix: prefixOption().optional(),
  url: secretOption.optional(),
  commandTimeout: timeoutOption.optional(),
  eviction: option.oneOf(['never', 'allowed'], 'allowed'),
})

const spec = {
  url: secretOption.optional(),
  sentinel: option
    .nested({
      ...nodesSpec,
      name: option.text(),
      username: secretOption.optional(),
      password: secretOption.optional(),
    })
    .optional(),
  cluster: option.nested(nodesSpec).optional(),
  clients: option.record(clientOption).optional(),
  username: secretOption.optional(),
  password: secretOption.optional(),
  tls: option.parsed('options of node:tls', (given) => given as ConnectionOptions).optional(),
  connect: option.oneOf(['eager', 'lazy'], defaults.connect),
  connectTimeout: timeoutOption.or(parseDuration(defaults.connectTimeout)),
  commandTimeout: timeoutOption.or(parseDuration(defaults.commandTimeout)),
  reconnect: option.nested({
    min: option.delay(defaults.reconnect.min),
    max: option.delay(defaults.reconnect.max),
  }),
  bootCheck: option.oneOf(['refuse', 'warn', 'off'], defaults.bootCheck),
  connectionName: option.text(defaults.connectionName),
  logger: option.logger(),
  signal: option.signal(),
}

type ReadOptions = OptionValues<typeof spec>
type ReadClient = NonNullable<ReadOptions['clients']>[string]

const path = 'createRedisClients'

/** @throws TypeError naming every option that is unknown or makes no sense. */
export function resolveRedisClientsOptions(options: RedisClientsOptions): ResolvedOptions {
  const read = readOptions<RedisClientsOptions, typeof spec>(options, spec, path, { check })
  const { clients: _given, username: _user, password: _secret, url: _url, ...common } = read
  const target = targetOf(read)
  const clients = Object.entries(read.clients ?? defaultClientsFor(target)).map(
    ([name, client]) => [name, resolveClient(name, client, target, read)] as const,
  )
  return { ...common, target, clients: new Map(clients) }
}

function check({ url, sentinel, cluster, clients, reconnect }: ReadOptions, note: NoteProblem): void {
  const given = Object.entries({ url, sentinel, cluster }).flatMap(([name, value]) =>
    value === undefined ? [] : [name],
  )
  if (given.length !== 1) {
    const instead = given.length === 0 ? '.' : `, not ${given.join(' and ')}.`
    note('', `give exactly one of url, sentinel and cluster${instead}`)
  }
  if (clients !== undefined && Object.keys(clients).length === 0) note('clients', 'name at least one client.')
  if (reconnect.max < reconnect.min)
    note('reconnect', `max (${reconnect.max} ms) is below min (${reconnect.min} ms).`)
  for (const [name, client] of Object.entries(clients ?? {})) {
    if (cluster !== undefined && client.db !== 0)
      note(
        `clients.${name}.db`,
        `a cluster has only database 0, not ${client.db}. Tell clients apart by prefix.`,
      )
    if (url === undefined && client.url !== undefined)
      note(`clients.${name}.url`, 'a client of sentinels or of a cluster has no URL of its own.')
  }
}

function targetOf({ sentinel, cluster }: ReadOptions): Target {
  if (sentinel !== undefined) {
    const { name, nodes, natMap } = sentinel
    return { kind: 'sentinel', name, nodes, natMap }
  }
  return cluster === undefined ? { kind: 'server' } : { kind: 'cluster', ...cluster }
}

function defaultClientsFor(target: Target): Readonly<Record<string, ReadClient>> {
  const isCluster = target.kind === 'cluster'
  return Object.fromEntries(
    Object.entries<ClientOptions>(defaultClients).map(([name, { db = 0, eviction = 'allowed' }]) => [
      name,
      {
        db: isCluster ? 0 : db,
        // BullMQ refuses clients with a prefix; it has one of its own.
        prefix: isCluster && name === 'queue' ? '' : undefined,
        url: undefined,
        commandTimeout: undefined,
        eviction,
      },
    ]),
  )
}

function resolveClient(
  name: string,
  client: ReadClient,
  target: Target,
  common: ReadOptions,
): ResolvedClient {
  const given = client.url ?? common.url
  const urlPath = client.url === undefined ? `${path}.url` : `${path}.clients.${name}.url`
  return {
    db: client.db,
    prefix: client.prefix ?? (target.kind === 'cluster' ? `${name}:` : ''),
    address: given === undefined ? undefined : parseServerUrl(reveal(given), urlPath),
    credentials: keepLast(readCredentials(common, given, urlPath), name, common.logger),
    commandTimeout: client.commandTimeout ?? common.commandTimeout,
    mayEvict: client.eviction === 'allowed',
  }
}

/** What is given beside the URL wins over what the URL holds. */
function readCredentials(
  { username, password, sentinel }: ReadOptions,
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

/**
 * Keeps the last credentials for as long as they cannot be read: ioredis asks for them on a timer of its own, where an
 * error would end the process, and every further attempt to connect with it.
 */
function keepLast(read: ReadCredentials, client: string, logger: Logger): ReadCredentials {
  let last = read()
  let failing = false
  return () => {
    try {
      last = read()
      failing = false
    } catch (error) {
      const reason = describeFailure(error)
      if (!failing)
        logger.warn({ client, reason }, 'redis credentials cannot be read; the last ones are used')
      failing = true
    }
    return last
  }
}

/** @throws TypeError for a secret that reveals no text. */
function reveal(text: SecretText): string {
  if (typeof text === 'string') return text
  const revealed: unknown = text.reveal()
  if (typeof revealed === 'string') return revealed
  if (isPromise(revealed)) revealed.then(undefined, () => undefined)
  throw new TypeError('reveal() of a secret gave no text.')
}
