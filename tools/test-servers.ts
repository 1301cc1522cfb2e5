import { startTestServers } from '../packages/orchestrator/src/infrastructure.ts'

/**
 * Starts a real PostgreSQL and a real Redis for the test run, unless `DATABASE_URL` or `REDIS_URL` name
 * some, and stops them when it is over. Tests reach them through `@quintet/test-kit`.
 */
export default async function startServers(): Promise<() => Promise<void>> {
  const { postgres, redis, stop } = await startTestServers({ onProgress: (message) => console.log(message) })
  process.env['DATABASE_URL'] = postgres.url
  process.env['REDIS_URL'] = redis.url
  return stop
}
