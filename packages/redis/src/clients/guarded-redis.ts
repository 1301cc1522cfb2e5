import { Cluster, Pipeline, Redis } from 'ioredis'
import type { ClusterNode, ClusterOptions, RedisOptions } from 'ioredis'
import { detached } from './async-context.ts'
import { RedisError, toRedisError, unavailable } from '../errors.ts'

type SentCommand = Parameters<Redis['sendCommand']>[0]

/** User names and passwords, as options of ioredis. Read before each attempt to connect, since secrets rotate. */
export type ReadCredentials = () => Pick<
  RedisOptions,
  'username' | 'password' | 'sentinelUsername' | 'sentinelPassword'
>

/** Commands whose callers were told that they failed. They must not be sent any more. */
const failed = new WeakSet<SentCommand>()

/** Lets every rejection of the command pass through {@link toRedisError}, however it comes about. */
function guard(command: SentCommand, translate: (error: Error) => unknown = toRedisError): void {
  const { reject } = command
  command.reject = (error) => {
    failed.add(command)
    reject(translate(error) as Error)
  }
}

/**
 * An ioredis client that fails with {@link RedisError}s and never shows its password.
 *
 * Until its first attempt to connect has ended it queues commands (they wait for at most the command
 * timeout); from then on a command that finds no connection fails at once.
 */
export class GuardedRedis extends Redis {
  #closed = false
  readonly #credentials: ReadCredentials

  constructor(
    options: Omit<RedisOptions, 'replyMapping'>,
    queueWhenDown: boolean,
    credentials: ReadCredentials,
  ) {
    super({ enableOfflineQueue: true, ...options, ...credentials(), lazyConnect: true })
    this.#credentials = credentials
    // A duplicate reads its credentials anew as well, unless it is given others.
    this.duplicate = ((override: Partial<RedisOptions> = {}) =>
      new GuardedRedis(
        { ...(this.options as typeof options), enableOfflineQueue: true, ...override } as typeof options,
        override.enableOfflineQueue ?? queueWhenDown,
        () => ({ ...credentials(), ...given(override) }),
      )) as Redis['duplicate']
    showAsJson(this)
    if (!queueWhenDown) stopQueueingAtFirstClose(this)
    if (options.lazyConnect === false) this.connect().catch(() => undefined)
  }

  override connect(callback?: Parameters<Redis['connect']>[0]): Promise<void> {
    Object.assign(this.options, this.#credentials())
    return detached(() => super.connect(callback))
  }

  override sendCommand(...[command, stream]: Parameters<Redis['sendCommand']>): unknown {
    // From the offline queue, after its time was up.
    if (failed.has(command)) return command.promise
    guard(command)
    if (this.#closed) {
      command.reject(new RedisError('ERR_REDIS_CLOSED', 'Connection is closed.'))
      return command.promise
    }
    return super.sendCommand(command, stream)
  }

  /** Refuses further commands, whatever state the connection is in. */
  seal(): void {
    this.#closed = true
  }

  toJSON(): object {
    return { name: this.options.connectionName, db: this.options.db, status: this.status }
  }
}

/** Cluster options whose replies have the classic shapes. */
export type LegacyClusterOptions = Omit<ClusterOptions, 'redisOptions'> & {
  redisOptions?: Omit<NonNullable<ClusterOptions['redisOptions']>, 'replyMapping'>
}

/** The same for a cluster. */
export class GuardedCluster extends Cluster {
  #closed = false
  readonly #guarded = new WeakSet<SentCommand>()

  constructor(
    nodes: ClusterNode[],
    options: LegacyClusterOptions,
    queueWhenDown: boolean,
    credentials: ReadCredentials,
  ) {
    super(nodes, { enableOfflineQueue: true, ...options, lazyConnect: true })
    this.duplicate = ((others: ClusterNode[] = [], override: Partial<LegacyClusterOptions> = {}) =>
      new GuardedCluster(
        others.length > 0 ? others : nodes,
        {
          ...(this.options as LegacyClusterOptions),
          enableOfflineQueue: true,
          ...override,
          redisOptions: {
            ...this.options.redisOptions,
            ...override.redisOptions,
          } as typeof options.redisOptions & {},
        },
        override.enableOfflineQueue ?? queueWhenDown,
        () => ({ ...credentials(), ...given(override.redisOptions) }),
      )) as Cluster['duplicate']
    readAnew(this.options.redisOptions, credentials)
    // The pool has a copy of its own, from which it makes the connection to each node.
    readAnew(
      (this as unknown as { connectionPool: { redisOptions: object } }).connectionPool.redisOptions,
      credentials,
    )
    showAsJson(this)
    if (!queueWhenDown) stopQueueingAtFirstClose(this)
    if (options.lazyConnect === false) this.connect().catch(() => undefined)
  }

  override connect(): Promise<void> {
    return detached(() => super.connect())
  }

  override sendCommand(...[command, stream, node]: Parameters<Cluster['sendCommand']>): unknown {
    if (failed.has(command)) return command.promise
    // A command can come here again, from the queue; its reject is then the cluster's, which needs the raw error.
    if (node === undefined && !this.#guarded.has(command)) {
      this.#guarded.add(command)
      guard(command, (error) => this.#translate(error))
    }
    if (this.#closed) {
      command.reject(new RedisError('ERR_REDIS_CLOSED', 'Connection is closed.'))
      return command.promise
    }
    return super.sendCommand(command, stream, node)
  }

  /** A cluster also calls a connection closed that one of its nodes has lost. */
  #translate(error: Error): unknown {
    const translated = toRedisError(error)
    if (this.#closed || !(translated instanceof RedisError) || translated.code !== 'ERR_REDIS_CLOSED')
      return translated
    return unavailable(error)
  }

  seal(): void {
    this.#closed = true
  }

  toJSON(): object {
    return { name: this.options.redisOptions?.connectionName, db: 0, status: this.status }
  }
}

/** The credentials that are given to a duplicate. */
function given({
  username,
  password,
}: Pick<RedisOptions, 'username' | 'password'> = {}): ReturnType<ReadCredentials> {
  return { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) }
}

/** Has the credentials read whenever ioredis copies the options, which it does for each node that it connects to. */
function readAnew(options: object | undefined, credentials: ReadCredentials): void {
  if (options === undefined) return
  for (const key of ['username', 'password'] as const)
    Object.defineProperty(options, key, {
      configurable: true,
      enumerable: true,
      get: () => credentials()[key],
    })
}

export type GuardedClient = GuardedRedis | GuardedCluster

/** Until then the queue is only used before the first attempt to connect has ended. */
function stopQueueingAtFirstClose(client: GuardedClient): void {
  client.once('close', () => {
    client.options.enableOfflineQueue = false
  })
}

/**
 * A client that is logged or inspected shows what its `toJSON` gives, and so not its password; its options hide what is
 * secret, and its pipelines and transactions the arguments of their commands.
 */
function showAsJson(client: GuardedClient): void {
  show(client, () => `${client.isCluster ? 'Cluster' : 'Redis'} ${JSON.stringify(client)}`)
  for (const options of [client.options, (client.options as ClusterOptions).redisOptions])
    if (options !== undefined) show(options, () => withoutSecrets(options))
  for (const kind of ['pipeline', 'multi'] as const) {
    const make = client[kind].bind(client) as (...args: unknown[]) => unknown
    client[kind] = ((...args: unknown[]) => {
      const made = make(...args)
      if (made instanceof Pipeline) show(made, () => `Pipeline { length: ${made.length} }`)
      return made
    }) as never
  }
}

const secrets: ReadonlySet<string> = new Set(['password', 'sentinelPassword', 'tls'])

function withoutSecrets(options: object): object {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => [
      name,
      secrets.has(name) && value !== undefined && value !== null ? '(hidden)' : value,
    ]),
  )
}

function show(value: object, text: () => unknown): void {
  Object.defineProperty(value, Symbol.for('nodejs.util.inspect.custom'), { value: text, configurable: true })
}
