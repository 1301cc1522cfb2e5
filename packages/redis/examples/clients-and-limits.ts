import {
  createLocks,
  createRateLimiter,
  createRedisClients,
  createTrackedCache,
  rateLimitHeaders,
} from '@quintet/redis'

await using clients = await createRedisClients({ url: process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379' })

// Ten a minute for each user, over all processes.
const limiter = createRateLimiter({ client: clients.client('ratelimit'), prefix: 'example:rl:' })
const result = await limiter.consume('user-7', { limit: 10, period: '1m' })
console.log(result.allowed, rateLimitHeaders({ user: result }))

// One process at a time; whatever it writes to can check the token.
const locks = createLocks({ client: clients.client('locks'), prefix: 'example:lk:' })
await locks.run('nightly-report', async ({ fencingToken }) => console.log('report', fencingToken > 0))

// In memory, and true: the write below removes the entry in every process.
const sessions = clients.client('sessions')
await using cache = createTrackedCache({
  client: sessions,
  prefix: 'example:',
  load: (key) => sessions.get(key),
})
await cache.whenTrusted()
await sessions.set('example:greeting', 'hello', 'EX', 60)
console.log(await cache.get('example:greeting'), cache.peek('example:greeting'))
