import { option, readOptions, type ResolvedOptions } from '@quintet/core/kit'

/** Where the tables are. */
export interface SessionTables {
  /** @defaultValue the first schema of the search path */
  readonly schema?: string
  /** @defaultValue `'auth_sessions'` */
  readonly sessions?: string
  /** @defaultValue `'auth_session_epochs'` */
  readonly epochs?: string
}

export interface TableNames {
  readonly sessions: string
  readonly epochs: string
}

const defaults = { sessions: 'auth_sessions', epochs: 'auth_session_epochs' }
const plainName = { pattern: /^[a-z_][a-z0-9_]{0,50}$/, expected: 'a plain lower-case name' }

/** How the names of the tables are read. */
export const tablesSpec = {
  schema: option.text(undefined, plainName).optional(),
  sessions: option.text(defaults.sessions, plainName),
  epochs: option.text(defaults.epochs, plainName),
}

/** The names as they stand in SQL. */
export function tableNames({ schema, sessions, epochs }: ResolvedOptions<typeof tablesSpec>): TableNames {
  const prefix = schema === undefined ? '' : `"${schema}".`
  return { sessions: `${prefix}"${sessions}"`, epochs: `${prefix}"${epochs}"` }
}

/**
 * The SQL that makes the tables, for your migrations. Times are milliseconds since the epoch. Refresh tokens are
 * not in it, only the SHA-256 of their secrets.
 */
export function sessionTablesSql(tables: SessionTables = {}): string {
  const read = readOptions<SessionTables, typeof tablesSpec>(tables, tablesSpec, 'sessionTablesSql')
  const { sessions, epochs } = tableNames(read)
  const base = read.sessions
  return `
create table ${sessions} (
  id text primary key,
  tenant_id text not null,
  user_id text not null,
  generation integer not null check (generation > 0),
  refresh_id text not null,
  refresh_hash text not null,
  previous_id text,
  previous_hash text,
  grace_allowed boolean not null,
  rotated_at bigint not null,
  created_at bigint not null,
  authenticated_at bigint not null,
  expires_at bigint not null,
  absolute_expires_at bigint not null check (expires_at <= absolute_expires_at),
  epoch integer not null,
  aal smallint not null check (aal between 1 and 3),
  amr text[] not null,
  roles text[] not null,
  permissions text[] not null,
  device jsonb not null,
  jkt text,
  revoked_at bigint,
  revoked_reason text
);
create index ${base}_of_user on ${sessions} (tenant_id, user_id) where revoked_at is null;
create index ${base}_revoked on ${sessions} (revoked_at) where revoked_at is not null;
create index ${base}_ended on ${sessions} (expires_at);
create table ${epochs} (
  tenant_id text not null,
  user_id text not null,
  epoch integer not null,
  primary key (tenant_id, user_id)
);
`
}
