/**
 * Starts a real PostgreSQL and a real Redis for the test run, unless `DATABASE_URL` or `REDIS_URL` name
 * some, and stops them when it is over. Tests reach them through `@quintet/test-kit`.
 */
export default async function startTestServers(): Promise<() => Promise<void>> {
  if (process.env['DATABASE_URL'] && process.env['REDIS_URL']) return async () => {}
  const { startPostgres, startRedis } = await import('../packages/orchestrator/src/infrastructure/index.ts')
  await using servers = new AsyncDisposableStack()
  const postgres = await startPostgres({ durable: false })
  servers.defer(() => postgres.stop())
  const redis = await startRedis({})
  servers.defer(() => redis.stop())
  process.env['DATABASE_URL'] = postgres.url
  process.env['REDIS_URL'] = redis.url
  const running = servers.move()
  return () => running.disposeAsync()
}
