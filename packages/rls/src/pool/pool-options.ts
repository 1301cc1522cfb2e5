import type { Logger } from '@quintet/core'
import { option, readOptions, type ResolvedOptions } from '@quintet/core/kit'
import type { Pool } from 'pg'
import { idTypes, type IdType } from '../context/context-settings.ts'
import type { AuditSystemAccess } from '../context/system-access.ts'

/** How a pool speaks to the database, whoever it works for. */
export interface ConnectionOptions {
  /**
   * Prepare statements that come again, so that PostgreSQL keeps their plans. Turn it off behind a PgBouncer in
   * transaction mode before 1.21, or one without `max_prepared_statements`.
   * @defaultValue true
   */
  readonly preparedStatements?: boolean
  /**
   * How many statements one connection keeps beside that of the context, up to 256 KB of text; the least recently used one
   * is closed.
   * @defaultValue 256
   */
  readonly maxPreparedStatements?: number
  /**
   * `'auto'` sends context and statement together, and falls back to an explicit transaction when the
   * driver is not one it knows; `'transaction'` always uses explicit transactions.
   * @defaultValue `'auto'`
   */
  readonly protocol?: 'auto' | 'transaction'
  /** What a tenant id looks like; anything else is refused before it is sent. @defaultValue `'uuid'` */
  readonly tenantIdType?: IdType
  /** What a user id looks like. @defaultValue `'uuid'` */
  readonly userIdType?: IdType
  /** @defaultValue drops everything */
  readonly logger?: Logger
}

export interface RlsPoolOptions extends ConnectionOptions {
  /** The role that holds the tenants' rights, e.g. `media_tenant`. The login must be a NOINHERIT member of it. */
  readonly role: string
  /** Connections of the system login, for {@link asSystem}. Without one, `asSystem` is refused. */
  readonly system?: Pool
  /** Records each use of the system login; when it throws, the use is refused. @defaultValue a log line of level `info` */
  readonly audit?: AuditSystemAccess
  /**
   * Check the roles and tables with {@link checkRoles} before the first connection is handed out, and
   * refuse to work when they are not safe.
   * @defaultValue true
   */
  readonly check?: boolean
  /** Tables (`schema.table`, or `table` in `public`) that tenants may use although they have no row-level security. */
  readonly unprotectedTables?: readonly string[]
  /**
   * The most connections that one tenant has at once. Above it a tenant waits in line, for as long as the pool's
   * `connectionTimeoutMillis`.
   * @defaultValue no limit
   */
  readonly tenantConnections?: number
}

export interface SystemPoolOptions extends ConnectionOptions {
  readonly audit?: AuditSystemAccess
}

export const rlsPoolDefaults = Object.freeze({
  preparedStatements: true,
  maxPreparedStatements: 256,
  protocol: 'auto',
  tenantIdType: 'uuid',
  userIdType: 'uuid',
  check: true,
} as const)

const connectionSpec = {
  preparedStatements: option.boolean(rlsPoolDefaults.preparedStatements),
  maxPreparedStatements: option.count(rlsPoolDefaults.maxPreparedStatements, { min: 1 }),
  protocol: option.oneOf(['auto', 'transaction'], rlsPoolDefaults.protocol),
  tenantIdType: option.oneOf(idTypes, rlsPoolDefaults.tenantIdType),
  userIdType: option.oneOf(idTypes, rlsPoolDefaults.userIdType),
  logger: option.logger(),
}

const auditOption = option.function<AuditSystemAccess>().optional()
const pgPool = option.collaborator<Pool>(['connect', 'query', 'end'], 'a pool of pg')

/** What a pool leaves to whoever opens it for an app. */
export const rlsBehaviorSpec = {
  ...connectionSpec,
  audit: auditOption,
  check: option.boolean(rlsPoolDefaults.check),
  unprotectedTables: option.list(option.text()),
}

const rlsPoolSpec = {
  ...rlsBehaviorSpec,
  role: option.text(undefined, {
    pattern: /^(?!none$)[^]+$/,
    expected: "the role that holds the tenants' rights, e.g. 'media_tenant'",
  }),
  system: pgPool.optional(),
  tenantConnections: option.count(Infinity, { min: 1 }),
}

const systemPoolSpec = { ...connectionSpec, audit: auditOption }

export type ResolvedConnectionOptions = ResolvedOptions<typeof connectionSpec>
export type ResolvedRlsPoolOptions = ResolvedOptions<typeof rlsPoolSpec>
export type ResolvedSystemPoolOptions = ResolvedOptions<typeof systemPoolSpec>

/** @throws TypeError for an unknown option or a value that is none of its kind. */
export function resolveRlsPoolOptions(options: RlsPoolOptions): ResolvedRlsPoolOptions {
  return readOptions<RlsPoolOptions, typeof rlsPoolSpec>(options, rlsPoolSpec, 'createRlsPool')
}

export function resolveSystemPoolOptions(options: SystemPoolOptions): ResolvedSystemPoolOptions {
  return readOptions<SystemPoolOptions, typeof systemPoolSpec>(options, systemPoolSpec, 'createSystemPool')
}
