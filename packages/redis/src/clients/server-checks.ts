import type { Logger } from '@quintet/core'
import { checkServer } from './boot-check.ts'
import { describeFailure, RedisError } from '../errors.ts'
import type { GuardedClient } from './guarded-redis.ts'
import type { ResolvedOptions } from './resolve-clients-options.ts'

/** One client, and the server that it was given. */
export interface CheckedConnection {
  readonly name: string
  readonly connection: GuardedClient
  readonly server: string
  readonly mayEvict: boolean
}

/** Holds every server against what its clients need, when they start and after each reconnect. */
export interface ServerChecks {
  /** @throws RedisError `ERR_REDIS_UNSUITABLE` when the mode is `'refuse'` and a server does not suit. */
  atStart(): Promise<void>
  /** From now on checks each new connection: it may have reached another server. */
  watch(): void
  /**
   * What makes the health check fail; empty unless the mode is `'refuse'`. While there is something the server is asked
   * again, since an operator may have changed it.
   *
   * @throws RedisError `ERR_REDIS_UNAVAILABLE`
   */
  problemsOf(connection: CheckedConnection): Promise<readonly string[]>
}

export function createServerChecks(
  connections: readonly CheckedConnection[],
  mode: ResolvedOptions['bootCheck'],
  logger: Logger,
): ServerChecks {
  const byServer = Map.groupBy(connections, ({ server }) => server)
  const problems = new Map<string, readonly string[]>()

  /** Asks through the given connection, on behalf of every client of its server. */
  async function check({ server, connection }: CheckedConnection): Promise<readonly string[]> {
    const mustStay = (byServer.get(server) ?? []).filter(({ mayEvict }) => !mayEvict).map(({ name }) => name)
    const nodes = 'nodes' in connection ? connection.nodes('master') : [connection]
    const found = [...new Set((await Promise.all(nodes.map((node) => checkServer(node, mustStay)))).flat())]
    const known = problems.get(server)?.join()
    problems.set(server, found)
    if (found.length > 0 && found.join() !== known)
      logger.warn({ server, problems: found }, 'redis server does not suit')
    if (found.length === 0 && known !== undefined && known !== '')
      logger.info({ server }, 'redis server suits now')
    return found
  }

  return {
    async atStart() {
      if (mode === 'off') return
      const firsts = [...byServer.values()].flatMap((onServer) => onServer.slice(0, 1))
      const found = (await Promise.all(firsts.map(check))).flat()
      if (mode === 'refuse' && found.length > 0)
        throw new RedisError('ERR_REDIS_UNSUITABLE', found.join('\n'))
    },
    watch() {
      if (mode === 'off') return
      for (const checked of connections) {
        checked.connection.on('ready', () => {
          check(checked).catch((error: unknown) => {
            logger.debug(
              { server: checked.server, reason: describeFailure(error) },
              'redis server could not be checked',
            )
          })
        })
      }
    },
    async problemsOf(checked) {
      const known = problems.get(checked.server) ?? []
      return mode === 'refuse' && known.length > 0 ? check(checked) : []
    },
  }
}
