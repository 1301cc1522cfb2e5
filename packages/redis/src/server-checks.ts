import type { Logger } from '@quintet/core'
import { checkServer } from './boot-check.ts'
import { describeFailure, RedisError } from './errors.ts'
import type { GuardedClient } from './guarded-redis.ts'
import type { ResolvedOptions } from './resolve-options.ts'

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
  /** What makes the health check fail; empty unless the mode is `'refuse'`. */
  problemsOf(server: string): readonly string[]
}

export function createServerChecks(
  connections: readonly CheckedConnection[],
  mode: ResolvedOptions['bootCheck'],
  logger: Logger,
): ServerChecks {
  const byServer = Map.groupBy(connections, ({ server }) => server)
  const problems = new Map<string, readonly string[]>()

  async function check(server: string, onServer: readonly CheckedConnection[]): Promise<readonly string[]> {
    const [first] = onServer
    if (first === undefined) return []
    const mustStay = onServer.filter(({ mayEvict }) => !mayEvict).map(({ name }) => name)
    const found = await checkServer(first.connection, mustStay)
    problems.set(server, found)
    if (found.length > 0) logger.warn({ server, problems: found }, 'redis server does not suit')
    return found
  }

  return {
    async atStart() {
      if (mode === 'off') return
      const found = (
        await Promise.all([...byServer].map(([server, onServer]) => check(server, onServer)))
      ).flat()
      if (mode === 'refuse' && found.length > 0)
        throw new RedisError('ERR_REDIS_UNSUITABLE', found.join('\n'))
    },
    watch() {
      if (mode === 'off') return
      for (const [server, onServer] of byServer) {
        onServer[0]?.connection.on('ready', () => {
          check(server, onServer).catch((error: unknown) => {
            logger.debug({ server, reason: describeFailure(error) }, 'redis server could not be checked')
          })
        })
      }
    },
    problemsOf: (server) => (mode === 'refuse' ? (problems.get(server) ?? []) : []),
  }
}
