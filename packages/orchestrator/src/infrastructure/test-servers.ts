import { startPostgres, type PostgresServer } from './postgres/start-postgres.ts'
import { startRedis, type RedisServer } from './redis/start-redis.ts'

export interface TestServers extends AsyncDisposable {
  readonly postgres: PostgresServer
  readonly redis: RedisServer
  stop(): Promise<void>
}

export interface TestServersOptions {
  readonly onProgress?: (message: string) => void
}

/**
 * Both servers for a test run, in temporary folders and without durability. For vitest's `globalSetup`:
 * return its `stop`.
 */
export async function startTestServers(options: TestServersOptions = {}): Promise<TestServers> {
  await using starting = new AsyncDisposableStack()
  const postgres = starting.use(await startPostgres({ durable: false, ...options }))
  const redis = starting.use(await startRedis({ durable: false, ...options }))
  const running = starting.move()
  const stop = (): Promise<void> => running.disposeAsync()
  return { postgres, redis, stop, [Symbol.asyncDispose]: stop }
}
