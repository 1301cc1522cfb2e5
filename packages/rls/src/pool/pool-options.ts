import { type Logger, silentLogger } from '@quintet/core'
import { refuseUnknownKeys } from '@quintet/core/kit'
import type { Pool } from 'pg'
import type { IdType } from '../context/context-settings.ts'
import type { AuditSystemAccess } from '../context/system-access.ts'

/** How a pool speaks to the database, whoever it works for. */
export interface ConnectionOptions {
  /**
   * Name the statements, so that PostgreSQL keeps their plans. Turn it off behind a PgBouncer in
   * transaction mode before 1.21, or one without `max_prepared_statements`.
   * @defaultValue true
   */
  readonly preparedStatements?: boolean
  /**
   * How many statements one connection keeps beside that of the context; the least recently used one is
   * closed.
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

const connectionKeys = [
  'preparedStatements',
  'maxPreparedStatements',
  'protocol',
  'tenantIdType',
  'userIdType',
  'logger',
]
const rlsPoolKeys = [...connectionKeys, 'role', 'system', 'audit', 'check', 'unprotectedTables']

export interface ResolvedConnectionOptions {
  readonly preparedStatements: boolean
  readonly maxPreparedStatements: number
  readonly protocol: 'auto' | 'transaction'
  readonly tenantIdType: IdType
  readonly userIdType: IdType
  readonly logger: Logger
}

export interface ResolvedRlsPoolOptions extends ResolvedConnectionOptions {
  readonly role: string
  readonly system: Pool | undefined
  readonly audit: AuditSystemAccess | undefined
  readonly check: boolean
  readonly unprotectedTables: readonly string[]
}

/** @throws TypeError for an unknown option or a value that is none of its kind. */
export function resolveRlsPoolOptions(options: RlsPoolOptions): ResolvedRlsPoolOptions {
  refuseUnknownKeys(options, rlsPoolKeys, 'createRlsPool')
  if (typeof options.role !== 'string' || options.role === '' || options.role === 'none') {
    throw new TypeError(
      "createRlsPool: role is missing. Give the role that holds the tenants' rights, e.g. 'media_tenant'.",
    )
  }
  return {
    ...resolveConnection(options, 'createRlsPool'),
    role: options.role,
    system: options.system,
    audit: options.audit,
    check: options.check ?? rlsPoolDefaults.check,
    unprotectedTables: options.unprotectedTables ?? [],
  }
}

export interface ResolvedSystemPoolOptions extends ResolvedConnectionOptions {
  readonly audit: AuditSystemAccess | undefined
}

export function resolveSystemPoolOptions(options: SystemPoolOptions): ResolvedSystemPoolOptions {
  refuseUnknownKeys(options, [...connectionKeys, 'audit'], 'createSystemPool')
  return { ...resolveConnection(options, 'createSystemPool'), audit: options.audit }
}

function resolveConnection(options: ConnectionOptions, path: string): ResolvedConnectionOptions {
  const maxPreparedStatements = options.maxPreparedStatements ?? rlsPoolDefaults.maxPreparedStatements
  if (!Number.isInteger(maxPreparedStatements) || maxPreparedStatements < 1) {
    throw new TypeError(
      `${path}.maxPreparedStatements: ${String(maxPreparedStatements)} is no whole number from 1.`,
    )
  }
  const protocol = options.protocol ?? rlsPoolDefaults.protocol
  if (protocol !== 'auto' && protocol !== 'transaction') {
    throw new TypeError(`${path}.protocol: ${JSON.stringify(protocol)} is neither 'auto' nor 'transaction'.`)
  }
  return {
    preparedStatements: options.preparedStatements ?? rlsPoolDefaults.preparedStatements,
    maxPreparedStatements,
    protocol,
    tenantIdType: idType(options.tenantIdType ?? rlsPoolDefaults.tenantIdType, `${path}.tenantIdType`),
    userIdType: idType(options.userIdType ?? rlsPoolDefaults.userIdType, `${path}.userIdType`),
    logger: options.logger ?? silentLogger,
  }
}

function idType(value: IdType, path: string): IdType {
  if (value === 'uuid' || value === 'bigint' || value === 'text') return value
  throw new TypeError(`${path}: ${JSON.stringify(value)} is none of 'uuid', 'bigint' and 'text'.`)
}
