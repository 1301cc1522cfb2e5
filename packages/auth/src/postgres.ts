export {
  createPostgresSessionStore,
  postgresSessionStoreDefaults,
  type PostgresPool,
  type PostgresSessionStore,
  type PostgresSessionStoreOptions,
} from './postgres/session-store.ts'
export { sessionTablesSql, type SessionTables } from './postgres/tables.ts'
