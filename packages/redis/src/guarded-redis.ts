import { Cluster, Redis } from 'ioredis'
import type { ClusterNode, ClusterOptions, RedisOptions } from 'ioredis'
import { RedisError, toRedisError, unavailable } from './errors.ts'

type SentCommand = Parameters<Redis['sendCommand']>[0]

/** Lets every rejection of the command pass through {@link toRedisError}, however it comes about. */
function guard(command: SentCommand, translate: (error: Error) => unknown = toRedisError): void {
  const { reject } = command
  command.reject = (error) => reject(translate(error) as Error)
}

/**
 * An ioredis client that fails with {@link RedisError}s and never shows its password.
 *
 * Until its first attempt to connect has ended it queues commands (they wait for at most the command
 * timeout); from then on a command that finds no connection fails at once.
 */
export class GuardedRedis extends Redis {
  #closed = false

  constructor(options: Omit<RedisOptions, 'replyMapping'>, queueWhenDown: boolean) {
    super({ ...options, lazyConnect: true, enableOfflineQueue: true })
    showAsJson(this)
    if (!queueWhenDown) stopQueueingAtFirstClose(this)
  }

  override sendCommand(...[command, stream]: Parameters<Redis['sendCommand']>): unknown {
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

  constructor(nodes: ClusterNode[], options: LegacyClusterOptions, queueWhenDown: boolean) {
    super(nodes, { ...options, lazyConnect: true, enableOfflineQueue: true })
    showAsJson(this)
    if (!queueWhenDown) stopQueueingAtFirstClose(this)
  }

  override sendCommand(...[command, stream, node]: Parameters<Cluster['sendCommand']>): unknown {
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

export type GuardedClient = GuardedRedis | GuardedCluster

/** Until then the queue is only used before the first attempt to connect has ended. */
function stopQueueingAtFirstClose(client: GuardedClient): void {
  client.once('close', () => {
    client.options.enableOfflineQueue = false
  })
}

/** A client that is logged or inspected shows what its `toJSON` gives, and so not its password. */
function showAsJson(client: GuardedClient): void {
  const show = (): string => `${client.isCluster ? 'Cluster' : 'Redis'} ${JSON.stringify(client)}`
  Object.defineProperty(client, Symbol.for('nodejs.util.inspect.custom'), { value: show })
}
