import type { Duration, SetupContext } from '@quintet/core'
import { option, readOptions, revealText, type SecretText } from '@quintet/core/kit'
import { Kysely, PostgresDialect } from 'kysely'
import { Pool, type PoolConfig } from 'pg'
import { rlsBehaviorSpec, type RlsPoolOptions } from '../pool/pool-options.ts'
import { createRlsPool, type RlsPool } from '../pool/rls-pool.ts'
import { databaseRoles } from '../roles/database-roles.ts'

/** What {@link openDatabase} takes of a `SetupContext`. */
export type DatabaseContext = Pick<
  SetupContext<{ readonly database: { readonly url: SecretText; readonly systemUrl: SecretText } }>,
  'config' | 'logger' | 'lifecycle' | 'health'
>

export interface OpenDatabaseOptions extends Omit<
  RlsPoolOptions,
  'role' | 'system' | 'tenantConnections' | 'logger'
> {
  /** The role that holds the tenants' rights. @defaultValue that of `databaseRoles` for the database of the URL */
  readonly role?: string
  /** Connections for calls, in this process. @defaultValue 8 */
  readonly connections?: number
  /** Connections of the system login, in this process. @defaultValue 4 */
  readonly systemConnections?: number
  /** The most connections that one tenant has at once. @defaultValue half of `connections` */
  readonly tenantConnections?: number
  /** For how long a statement may run; 0 for no limit. @defaultValue `'30s'` */
  readonly statementTimeout?: Duration
  /** For how long a statement waits for a lock; 0 for no limit. @defaultValue `'10s'` */
  readonly lockTimeout?: Duration
  /** For how long a transaction may stand still between two statements; 0 for no limit. @defaultValue `'30s'` */
  readonly idleInTransactionTimeout?: Duration
  /** For how long to wait for a connection, free or new; 0 for no limit. @defaultValue `'5s'` */
  readonly connectionTimeout?: Duration
}

/** An app's database: what its tenants see, and its pools. */
export interface Database<Tables> {
  /** Held to the tenant of the running call; under `asSystem`, to the rights of the system login. */
  readonly db: Kysely<Tables>
  /** The pool below `db`. */
  readonly pool: RlsPool
  /** Connections of the system login, for relays and leases. All advisory locks of the process share one of them. */
  readonly systemPool: Pool
}

export const openDatabaseDefaults = Object.freeze({
  connections: 8,
  systemConnections: 4,
  statementTimeout: '30s',
  lockTimeout: '10s',
  idleInTransactionTimeout: '30s',
  connectionTimeout: '5s',
} as const)

/** For how long beyond its limit the answer to a statement may take, in milliseconds, before its connection counts as lost. */
const answerGrace = 5_000

const { logger: _ofTheContext, ...behaviorSpec } = rlsBehaviorSpec

const spec = {
  ...behaviorSpec,
  role: option.text().optional(),
  connections: option.count(openDatabaseDefaults.connections, { min: 1 }),
  systemConnections: option.count(openDatabaseDefaults.systemConnections, { min: 1 }),
  tenantConnections: option.count(undefined, { min: 1 }).optional(),
  statementTimeout: option.delay(openDatabaseDefaults.statementTimeout),
  lockTimeout: option.delay(openDatabaseDefaults.lockTimeout),
  idleInTransactionTimeout: option.delay(openDatabaseDefaults.idleInTransactionTimeout),
  connectionTimeout: option.delay(openDatabaseDefaults.connectionTimeout),
}

/**
 * Opens the database of an app in its `setup`, `config.database`, with limits on time and on each tenant's share of
 * the connections, so that no blocked row and no busy tenant stops the others. A statement is cancelled when its
 * invocation is over. The process is not ready while a pool has no connection to give, PostgreSQL does not answer on it, or
 * roles and tables are not safe, and ends both pools when it stops.
 *
 * @throws TypeError for an unknown option or a value that is none of its kind.
 *
 * @example
 * export const setup = (context: SetupContext<Config>) => ({ ...openDatabase<Tables>(context) })
 */
export function openDatabase<Tables>(
  context: DatabaseContext,
  options: OpenDatabaseOptions = {},
): Database<Tables> {
  const resolved = readOptions<OpenDatabaseOptions, typeof spec>(options, spec, 'openDatabase')
  const {
    role,
    connections,
    systemConnections,
    tenantConnections,
    statementTimeout,
    lockTimeout,
    idleInTransactionTimeout,
    connectionTimeout,
    audit,
    ...behavior
  } = resolved
  const { config, logger, lifecycle, health } = context
  const limits: PoolConfig = {
    idleTimeoutMillis: 30_000,
    connectionTimeoutMillis: connectionTimeout,
    keepAlive: true,
    statement_timeout: statementTimeout,
    // Where the server says nothing, its own limit is never told.
    ...(statementTimeout === 0 ? {} : { query_timeout: statementTimeout + answerGrace }),
    lock_timeout: lockTimeout,
    idle_in_transaction_session_timeout: idleInTransactionTimeout,
  }
  const url = revealText(config.database.url)
  const tenants = new Pool({ ...limits, connectionString: url, max: connections })
  const systemUrl = revealText(config.database.systemUrl)
  const systemPool = new Pool({ ...limits, connectionString: systemUrl, max: systemConnections })
  const pool = createRlsPool(tenants, {
    ...behavior,
    ...(audit && { audit }),
    role: role ?? databaseRoles(databaseOf(url)).tenant,
    system: systemPool,
    tenantConnections: tenantConnections ?? Math.ceil(connections / 2),
    logger,
  })
  lifecycle.onStop('database', () => pool.end())
  health.add({ name: 'postgres', check: () => pool.ready() })
  health.add({ name: 'postgres system', check: async () => void (await systemPool.query('select 1')) })
  return { db: new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }), pool, systemPool }
}

function databaseOf(url: string): string {
  return decodeURIComponent(new URL(url).pathname.slice(1))
}
