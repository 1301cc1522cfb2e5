import type { Logger } from '@quintet/core'
import type { Redis, RedisOptions } from 'ioredis'
import { detached } from './async-context.ts'
import { describeFailure, isRedisRefusal } from '../errors.ts'
import { backoff } from './backoff.ts'

export interface CompanionOptions extends Pick<RedisOptions, 'commandTimeout' | 'socketTimeout'> {
  /** Shown by `CLIENT LIST` behind the name of the client. */
  readonly name: string
  readonly logger: Logger
  /** How often in a row it was ready and then given up; lengthens the pauses. */
  readonly failures?: () => number
}

/**
 * Makes a further connection to the server of a client. It connects when it is told to, from then on for ever, and
 * takes no command while the server is away.
 *
 * It is opened detached from the calling code, with credentials that are read before each attempt: by a client of
 * ours itself, of another one from its options.
 */
export function openCompanion(client: Redis, options: CompanionOptions): Redis {
  const { name, logger, failures = () => 0, commandTimeout, socketTimeout } = options
  const pauseBefore = backoff({ min: 50, max: 1_000 })
  const settings: Partial<Omit<RedisOptions, 'replyMapping'>> = {
    // Under RESP3 ioredis 6 drops the pushes that carry invalidations.
    protocol: 2,
    keyPrefix: '',
    connectionName: `${client.options.connectionName ?? 'redis'}:${name}`,
    lazyConnect: true,
    autoResubscribe: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout,
    socketTimeout,
    disconnectTimeout: 50,
    retryStrategy: (attempt) => pauseBefore(Math.max(attempt, failures())),
  }
  const connection = client.duplicate(settings)
  const connect = connection.connect.bind(connection)
  connection.connect = (callback) => {
    const { username, password } = client.options
    Object.assign(connection.options, { username, password })
    return detached(() => connect(callback))
  }
  let refused = false
  connection.on('ready', () => {
    refused = false
  })
  connection.on('error', (error: Error) => {
    const reason = describeFailure(error)
    if (!isRedisRefusal(error)) return logger.debug({ reason }, `redis ${name} connection failed`)
    if (!refused) logger.warn({ reason }, `redis refuses the ${name} connection`)
    refused = true
  })
  return connection
}
