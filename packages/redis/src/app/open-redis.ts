import type { SetupContext } from '@quintet/core'
import type { DefaultClientName, SecretText, ServerRedisClientsOptions } from '../clients/clients-options.ts'
import { createRedisClients, type RedisClients } from '../clients/create-redis-clients.ts'

/** What {@link openRedis} takes of a `SetupContext`. */
export type RedisContext = Pick<
  SetupContext<{ readonly redis: { readonly url: SecretText } }>,
  'config' | 'logger' | 'lifecycle' | 'health' | 'process' | 'signal'
>

export type OpenRedisOptions<Name extends string = DefaultClientName> = Omit<
  ServerRedisClientsOptions<Name>,
  'url' | 'logger' | 'signal'
>

/**
 * Opens the Redis of an app, `config.redis.url`, in its `setup`: the process refuses to start with a server that evicts
 * keys which must stay, is not ready while the server is away, and closes the clients when it stops.
 *
 * @throws RedisError as `createRedisClients`.
 *
 * @example
 * export const setup = async (context: SetupContext<Config>) => ({ redis: await openRedis(context) })
 */
export async function openRedis<Name extends string = DefaultClientName>(
  context: RedisContext,
  options: OpenRedisOptions<Name> = {},
): Promise<RedisClients<Name>> {
  const { config, logger, lifecycle, health, process, signal } = context
  const clients = await createRedisClients<Name>({
    bootCheck: 'refuse',
    connectionName: process.name,
    ...options,
    url: config.redis.url,
    logger,
    signal,
  })
  lifecycle.use(clients)
  health.add(clients.healthCheck())
  return clients
}
