import type { HealthCheck } from '@quintet/core'
import { refuseUnknownKeys } from '@quintet/core/kit'
import type { Cluster, Redis } from 'ioredis'
import { watchCircuit } from './circuit.ts'
import type { Circuit } from './circuit.ts'
import { closeConnection } from './close-connection.ts'
import { connectEagerly } from './connect-eagerly.ts'
import { createConnection } from './connection.ts'
import { RedisError } from '../errors.ts'
import type { GuardedClient } from './guarded-redis.ts'
import { createHealthCheck } from './health-check.ts'
import type { RedisHealthCheckOptions } from './health-check.ts'
import type {
  ClusterRedisClientsOptions,
  DefaultClientName,
  RedisClientsOptions,
  SentinelRedisClientsOptions,
  ServerRedisClientsOptions,
} from './clients-options.ts'
import { resolveRedisClientsOptions } from './resolve-clients-options.ts'
import type { ResolvedClient, ResolvedOptions } from './resolve-clients-options.ts'
import { createServerChecks } from './server-checks.ts'
import type { CheckedConnection } from './server-checks.ts'
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

interface Entry extends CheckedConnection {
  readonly circuit: () => Circuit
  readonly settings: ResolvedClient
}

type StartingRedisClients<Name extends string> = RedisClients<Name, Redis | Cluster> & {
  start(): Promise<void>
}

function openClients<Name extends string>(options: ResolvedOptions): StartingRedisClients<Name> {
  const { logger } = options
  const duplicates = new Map<GuardedClient, number>()
  let closing: Promise<void> | undefined

  function open(
    name: string,
    settings: ResolvedClient,
    blocking: boolean,
  ): Pick<Entry, 'connection' | 'circuit'> {
    const connection = createConnection(name, settings, options, { blocking })
    const circuit = watchCircuit(connection, ({ state, reason }) => {
      if (state === 'closed') logger.info({ client: name }, 'redis connected')
      else if (closing === undefined) logger.warn({ client: name, reason }, 'redis connection lost')
    })
    return { connection, circuit }
  }

  const entries = new Map<string, Entry>()
  for (const [name, settings] of options.clients) {
    const server = settings.address === undefined ? options.target.kind : showAddress(settings.address)
    entries.set(name, { name, server, mayEvict: settings.mayEvict, settings, ...open(name, settings, false) })
  }
  const checks = createServerChecks([...entries.values()], options.bootCheck, logger)
  if (options.connect === 'lazy') checks.watch()

  function entryOf(name: string): Entry {
    const entry = entries.get(name)
    if (entry !== undefined) return entry
    throw new TypeError(`There is no Redis client "${name}". Declared: ${[...entries.keys()].join(', ')}.`)
  }

  return {
    async start() {
      const all = [...entries.values()]
      await Promise.all(
        all.map(({ name, connection, circuit }) => connectEagerly(name, connection, circuit, options)),
      )
      await checks.atStart()
      checks.watch()
    },
    names: [...entries.keys()] as Name[],
    client: (name) => entryOf(name).connection,
    circuit: (name) => entryOf(name).circuit(),
    duplicate(name, duplicateOptions = {}) {
      refuseUnknownKeys(duplicateOptions, ['blocking'], 'duplicate')
      const { settings } = entryOf(name)
      if (closing !== undefined) throw new RedisError('ERR_REDIS_CLOSED', 'The Redis clients are closed.')
      const { connection } = open(name, settings, duplicateOptions.blocking ?? false)
      duplicates.set(connection, settings.commandTimeout)
      connection.once('end', () => duplicates.delete(connection))
      return connection
    },
    healthCheck(checkOptions = {}) {
      const covered = (checkOptions.clients ?? [...entries.keys()]).map(entryOf)
      return createHealthCheck(
        checkOptions,
        covered.map((entry) => ({
          name: entry.name,
          circuit: entry.circuit,
          ping: () => entry.connection.ping(),
          problems: () => checks.problemsOf(entry),
        })),
      )
    },
    close() {
      closing ??= Promise.all([
        ...[...entries.values()].map(({ connection, settings: { commandTimeout } }) =>
          closeConnection(connection, { drain: true, within: commandTimeout }),
        ),
        ...[...duplicates].map(([connection, within]) =>
          closeConnection(connection, { drain: false, within }),
        ),
      ]).then(() => undefined)
      return closing
    },
    async [Symbol.asyncDispose]() {
      await this.close()
    },
  }
}
