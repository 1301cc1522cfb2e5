export { openRedis, type OpenRedisOptions, type RedisContext } from './app/open-redis.ts'
