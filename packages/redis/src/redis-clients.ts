import type { HealthCheck } from '@quintet/core'
import type { Cluster, Redis } from 'ioredis'
import { checkServer } from './boot-check.ts'
import { watchCircuit } from './circuit.ts'
import type { Circuit } from './circuit.ts'
import { closeConnection } from './close-connection.ts'
import { createConnection } from './connection.ts'
import { describeFailure, RedisError } from './errors.ts'
import type { GuardedClient } from './guarded-redis.ts'
import { createHealthCheck } from './health-check.ts'
import type { RedisHealthCheckOptions } from './health-check.ts'
import { resolveRedisClientsOptions } from './options.ts'
import type {
  ClusterRedisClientsOptions,
  DefaultClientName,
  RedisClientsOptions,
  ResolvedOptions,
  SentinelRedisClientsOptions,
  ServerRedisClientsOptions,
} from './options.ts'
import { showAddress } from './server-url.ts'

export interface DuplicateOptions {
  /**
   * For commands that wait on the server (`BLPOP`, `SUBSCRIBE`, BullMQ): no command timeout, and commands
   * queue while the server is away, for as long as it takes.
   * @defaultValue `false`
   */
  readonly blocking?: boolean
}

/** Named clients, each on its logical database, with one life. */
export interface RedisClients<
  Name extends string = DefaultClientName,
  Client extends Redis | Cluster = Redis,
> extends AsyncDisposable {
  readonly names: readonly Name[]
  /** The shared client of this name; do not close it. @throws TypeError for a name that was not declared. */
  client(name: Name): Client
  /** A further connection like the named one. Closed by {@link close} at the latest. */
  duplicate(name: Name, options?: DuplicateOptions): Client
  /** Whether commands of this client pass now. */
  circuit(name: Name): Circuit
  /** A check for core's `HealthChecks`: pings each connected client, and fails with the reason and since when. */
  healthCheck(options?: RedisHealthCheckOptions<Name>): HealthCheck
  /**
   * Answers commands already sent, refuses further ones and closes every connection. Takes the command
   * timeout at most. Idempotent.
   */
  close(): Promise<void>
}

/**
 * Makes one client per name.
 *
 * Request clients fail fast: while the server is away or frozen, a command fails with
 * `ERR_REDIS_UNAVAILABLE` at once or after the command timeout, and reconnecting goes on for ever.
 *
 * @throws TypeError for options that are wrong.
 * @throws RedisError `ERR_REDIS_UNAVAILABLE` when an eager start finds no server within `connectTimeout`,
 * `ERR_REDIS_REFUSED` when the server refuses the password, `ERR_REDIS_UNSUITABLE` when the boot check refuses it.
 */
export function createRedisClients<Name extends string = DefaultClientName>(
  options: ClusterRedisClientsOptions<Name>,
): Promise<RedisClients<Name, Cluster>>
export function createRedisClients<Name extends string = DefaultClientName>(
  options: ServerRedisClientsOptions<Name> | SentinelRedisClientsOptions<Name>,
): Promise<RedisClients<Name>>
export async function createRedisClients<Name extends string>(
  options: RedisClientsOptions<Name>,
): Promise<RedisClients<Name, Redis | Cluster>> {
  const resolved = resolveRedisClientsOptions(options)
  resolved.signal?.throwIfAborted()
  const clients = openClients<Name>(resolved)
  if (resolved.connect === 'eager') {
    try {
      await clients.start()
    } catch (error) {
      await clients.close()
      throw error
    }
  }
  return clients
}

interface Entry {
  readonly connection: GuardedClient
  readonly circuit: () => Circuit
  readonly server: string
  readonly mayEvict: boolean
}

type StartingRedisClients<Name extends string> = RedisClients<Name, Redis | Cluster> & {
  start(): Promise<void>
}

function openClients<Name extends string>(options: ResolvedOptions): StartingRedisClients<Name> {
  const { logger } = options
  const entries = new Map<string, Entry>()
  const duplicates = new Set<GuardedClient>()
  /** What the last boot check found, by server. */
  const problems = new Map<string, readonly string[]>()
  let closing: Promise<void> | undefined

  for (const [name, client] of options.clients) {
    const connection = createConnection(name, client, options, { blocking: false })
    const circuit = watchCircuit(connection, ({ state, reason }) => {
      if (state === 'closed') logger.info({ client: name }, 'redis connected')
      else if (closing === undefined) logger.warn({ client: name, reason }, 'redis connection lost')
    })
    const server = client.address === undefined ? options.target.kind : showAddress(client.address)
    entries.set(name, { connection, circuit, server, mayEvict: client.mayEvict })
  }

  async function check(server: string): Promise<readonly string[]> {
    const onServer = [...entries].filter(([, entry]) => entry.server === server)
    const [first] = onServer
    if (first === undefined) return []
    const mustStay = onServer.filter(([, entry]) => !entry.mayEvict).map(([name]) => name)
    const found = await checkServer(first[1].connection, mustStay)
    if (closing !== undefined) return []
    problems.set(server, found)
    if (found.length > 0) logger.warn({ server, problems: found }, 'redis server does not suit')
    return found
  }

  /** Later connections may reach another server, so each one is checked, by the first client of the server. */
  function checkEachConnection(): void {
    const servers = new Set<string>()
    for (const { connection, server } of entries.values()) {
      if (servers.has(server)) continue
      servers.add(server)
      connection.on('ready', () => void check(server))
    }
  }

  async function start(): Promise<void> {
    await Promise.all([...entries].map(([name, entry]) => connectEagerly(name, entry, options)))
    if (options.bootCheck === 'off') return
    const servers = [...new Set([...entries.values()].map(({ server }) => server))]
    const found = (await Promise.all(servers.map(check))).flat()
    if (options.bootCheck === 'refuse' && found.length > 0) {
      throw new RedisError('ERR_REDIS_UNSUITABLE', found.join('\n'))
    }
    checkEachConnection()
  }

  function entryOf(name: string): Entry {
    const entry = entries.get(name)
    if (entry === undefined) {
      throw new TypeError(`There is no Redis client "${name}". Declared: ${[...entries.keys()].join(', ')}.`)
    }
    return entry
  }

  if (options.connect === 'lazy' && options.bootCheck !== 'off') checkEachConnection()

  return {
    start,
    names: [...entries.keys()] as Name[],
    client: (name) => entryOf(name).connection,
    circuit: (name) => entryOf(name).circuit(),
    duplicate(name, { blocking = false } = {}) {
      entryOf(name)
      if (closing !== undefined) throw new RedisError('ERR_REDIS_CLOSED', 'The Redis clients are closed.')
      const client = options.clients.get(name)
      if (client === undefined) throw new TypeError(`There is no Redis client "${name}".`)
      const connection = createConnection(name, client, options, { blocking })
      watchCircuit(connection, ({ state, reason }) => {
        if (state === 'open' && closing === undefined)
          logger.warn({ client: name, reason }, 'redis connection lost')
      })
      duplicates.add(connection)
      connection.once('end', () => duplicates.delete(connection))
      return connection
    },
    healthCheck: (checkOptions = {}) =>
      createHealthCheck(
        checkOptions,
        (checkOptions.clients ?? [...entries.keys()]).map((name) => {
          const { connection, circuit, server } = entryOf(name)
          return {
            name,
            circuit,
            ping: () => connection.ping(),
            problems: () => (options.bootCheck === 'refuse' ? (problems.get(server) ?? []) : []),
          }
        }),
      ),
    close() {
      closing ??= Promise.all([
        ...[...entries.values()].map(({ connection }) => closeConnection(connection, { drain: true })),
        ...[...duplicates].map((connection) => closeConnection(connection, { drain: false })),
      ]).then(() => undefined)
      return closing
    },
    async [Symbol.asyncDispose]() {
      await this.close()
    },
  }
}

/** Resolves when the client is ready; rejects with the reason when it is not in time. */
async function connectEagerly(
  name: string,
  { connection, circuit }: Entry,
  options: ResolvedOptions,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const refused = (error: unknown): void => {
    if (error instanceof RedisError && error.code === 'ERR_REDIS_REFUSED') reject(error)
  }
  const late = (): void => {
    const reason = circuit().reason ?? 'no answer'
    const message = `Redis client "${name}" found no server within ${options.connectTimeout} ms: ${reason}`
    reject(new RedisError('ERR_REDIS_UNAVAILABLE', message))
  }
  const aborted = (): void => reject(options.signal?.reason)
  const timer = setTimeout(late, options.connectTimeout)
  options.signal?.addEventListener('abort', aborted, { once: true })
  connection.once('ready', resolve)
  connection.on('error', refused)
  try {
    connection.connect().catch((error: unknown) => {
      options.logger.debug(
        { client: name, reason: describeFailure(error) },
        'redis connection attempt failed',
      )
    })
    await promise
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', aborted)
    connection.off('ready', resolve)
    connection.off('error', refused)
  }
}
