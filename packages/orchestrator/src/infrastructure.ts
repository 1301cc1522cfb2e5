export { createDatabaseFromTemplate } from './infrastructure/postgres/template-database.ts'
export { InfrastructureError, type InfrastructureErrorCode } from './infrastructure/errors.ts'
export { freePort, freePorts, isPortFree } from './processes/free-port.ts'
export { describePortOwner, findPortOwner, type PortOwner } from './processes/port-owner.ts'
export {
  startPostgres,
  type PostgresOptions,
  type PostgresServer,
} from './infrastructure/postgres/start-postgres.ts'
export { startRedis, type RedisOptions, type RedisServer } from './infrastructure/redis/start-redis.ts'
export { startTestServers, type TestServers, type TestServersOptions } from './infrastructure/test-servers.ts'
