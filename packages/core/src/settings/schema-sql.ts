/**
 * The tables of the runtime settings, as SQL for a migration. Safe to run again.
 *
 * The login that runs the apps needs `select`, `insert`, `update` and `delete` on them.
 */
export const settingsSchemaSql: string = `
create table if not exists quintet_settings_version (
  namespace text primary key,
  version bigint not null
);

create table if not exists quintet_settings (
  namespace text not null,
  key text not null,
  value jsonb not null,
  version bigint not null,
  primary key (namespace, key)
);

create table if not exists quintet_settings_history (
  namespace text not null,
  version bigint not null,
  key text not null,
  value jsonb,
  actor text not null,
  reason text,
  changed_at timestamptz not null default now(),
  primary key (namespace, version)
);

create index if not exists quintet_settings_history_by_key
  on quintet_settings_history (namespace, key, version desc);
`
