export { createTestDatabase, postgresUrl, type TestDatabase } from './database.ts'
export { freePort } from './free-port.ts'
export { redisUrl, startPrivateRedis, type PrivateRedis, type PrivateRedisOptions } from './redis.ts'
export { until } from './until.ts'
