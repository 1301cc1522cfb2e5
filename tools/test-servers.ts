import { compileCache } from '../packages/orchestrator/src/bin-path.ts'
import { startTestServers } from '../packages/orchestrator/src/infrastructure.ts'

/**
 * Starts a real PostgreSQL and a real Redis for the test run, unless `DATABASE_URL` or `REDIS_URL` name
 * some, and stops them when it is over. Tests reach them through `@quintet/test-kit`.
 */
export default async function startServers(): Promise<() => Promise<void>> {
  const { postgres, redis, stop } = await startTestServers({ onProgress: (message) => console.log(message) })
  process.env['DATABASE_URL'] = postgres.url
  process.env['REDIS_URL'] = redis.url
  // The processes that tests start compile nothing that one before them has compiled.
  process.env['NODE_COMPILE_CACHE'] = compileCache(process.env)
  return stop
}
