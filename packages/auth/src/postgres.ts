export {
  createPostgresSessionStore,
  postgresSessionStoreDefaults,
  type PostgresSessionStore,
  type PostgresSessionStoreOptions,
} from './postgres/session-store.ts'
export { sessionTablesSql, type SessionTables } from './postgres/tables.ts'
export type { PostgresConnection, PostgresPool } from './postgres/connections.ts'
