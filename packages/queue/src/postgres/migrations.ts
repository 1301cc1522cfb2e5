/** The tables of this package, as SQL for the migrations of an app. Each may be run again. */
export interface TableMigrationOptions {
  /** The role that holds the tenants' rights. It may add events of its own tenant, and nothing else. */
  readonly tenantRole: string
  /** The login that relays, prunes and leases. */
  readonly systemRole: string
}

/**
 * The outbox: what is to be told to others, written in the transaction of what it tells of.
 *
 * A tenant can add events for itself alone and reads none; the system login relays them.
 */
export function outboxMigration({ tenantRole, systemRole }: TableMigrationOptions): string {
  return `
create table if not exists outbox (
  id uuid primary key default gen_random_uuid(),
  position bigint generated always as identity,
  topic text not null,
  key text not null,
  tenant_id text,
  user_id text,
  payload jsonb not null,
  traceparent text,
  created_at timestamptz not null default now(),
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  dead_at timestamptz,
  last_error text,
  claimed_by uuid,
  claimed_until timestamptz,
  outage_since timestamptz,
  subjects text[] not null default '{}'
);
alter table outbox add column if not exists outage_since timestamptz;
alter table outbox add column if not exists subjects text[] not null default '{}';
create index if not exists outbox_pending on outbox (position) where dead_at is null;
drop index if exists outbox_by_key;
create index if not exists outbox_by_tenant_key on outbox (coalesce(tenant_id, ''), key, position) where dead_at is null;
create index if not exists outbox_dead on outbox (dead_at) where dead_at is not null;
alter table outbox enable row level security;
alter table outbox force row level security;
drop policy if exists outbox_tenant_insert on outbox;
create policy outbox_tenant_insert on outbox for insert to ${identifier(tenantRole)}
  with check (
    tenant_id = (select nullif(current_setting('app.tenant_id', true), ''))
    and (user_id is null or user_id = (select nullif(current_setting('app.user_id', true), ''))));
drop policy if exists outbox_system on outbox;
create policy outbox_system on outbox for all to ${identifier(systemRole)} using (true) with check (true);
grant insert (topic, key, tenant_id, user_id, payload, traceparent, subjects) on outbox to ${identifier(tenantRole)};
grant select, insert, update, delete on outbox to ${identifier(systemRole)};
drop trigger if exists outbox_notify on outbox;
drop function if exists outbox_notify();
drop function if exists outbox_claim(integer, uuid, double precision);
drop function if exists outbox_claim(integer, integer, uuid, double precision, text[], text[]);
${outboxClaim}
revoke all on function outbox_claim from public;
grant execute on function outbox_claim to ${identifier(systemRole)};
`
}

/**
 * Claims events for a relay: the first pending event of each key of a tenant that no relay holds, and those behind it.
 * The claim on the first one holds the key. Keys that the relay is still busy with are left alone, and so are tenants that
 * have their share of its places. A tenant gets no more places than stay free (dynamic threshold): however many keys of it
 * hang, there is room for others.
 *
 * The table is nearly empty most of the time, and its statistics say so also when many events wait: without the
 * settings, PostgreSQL compares each of them with every other.
 *
 * @see https://doi.org/10.1109/90.664262 Choudhury, Hahne: Dynamic queue length thresholds for shared-memory packet switches
 */
const outboxClaim = `
create or replace function outbox_claim(
  most_keys integer, most_events integer, relay uuid, seconds double precision, busy_tenants text[], busy_keys text[],
  held_tenants text[], held_places integer[])
returns setof outbox language sql security invoker
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
  with heads as materialized (
    select coalesce(tenant_id, '') as tenant, key, position from outbox as event
    where dead_at is null and next_attempt_at <= now() and (claimed_until is null or claimed_until <= clock_timestamp())
      and not exists (
        select from unnest(held_tenants, held_places) as held (tenant, places)
        where held.tenant = coalesce(event.tenant_id, '') and held.places >= most_keys)
      and position = (
        select min(position) from outbox as pending
        where coalesce(pending.tenant_id, '') = coalesce(event.tenant_id, '') and pending.key = event.key
          and pending.dead_at is null)
      and (cardinality(busy_keys) = 0 or not exists (
        select from unnest(busy_tenants, busy_keys) as busy (tenant, key)
        where busy.tenant = coalesce(event.tenant_id, '') and busy.key = event.key))
    order by position limit most_keys for update skip locked
  ), placed as (
    select heads.*, coalesce(held.places, 0) + row_number() over (partition by heads.tenant order by position) as place
    from heads left join unnest(held_tenants, held_places) as held (tenant, places) on held.tenant = heads.tenant
  ), fair as materialized (
    select tenant, key from (select placed.*, row_number() over (order by place, position) as taken from placed) as each
    where place <= most_keys - taken + 1
  ), batch as materialized (
    select event.id from fair cross join lateral (
      select id, position from outbox
      where coalesce(tenant_id, '') = fair.tenant and key = fair.key and dead_at is null
      order by position limit greatest(1, most_events / (select count(*) from fair))
    ) as event
  )
  update outbox set claimed_by = relay, claimed_until = clock_timestamp() + make_interval(secs => seconds)
  from batch where outbox.id = batch.id
  returning outbox.*
$$;`

/** The inbox: which events a consumer has had, so that each has its effect once. */
export function inboxMigration({ tenantRole, systemRole }: TableMigrationOptions): string {
  return `
create table if not exists inbox (
  consumer text not null,
  event_id text not null,
  tenant_id text not null,
  received_at timestamptz not null default now(),
  primary key (tenant_id, consumer, event_id)
);
create index if not exists inbox_by_age on inbox (received_at);
alter table inbox enable row level security;
alter table inbox force row level security;
drop policy if exists inbox_tenant on inbox;
create policy inbox_tenant on inbox for all to ${identifier(tenantRole)}
  using (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')))
  with check (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')));
drop policy if exists inbox_system on inbox;
create policy inbox_system on inbox for all to ${identifier(systemRole)} using (true) with check (true);
grant select, insert on inbox to ${identifier(tenantRole)};
grant select, insert, delete on inbox to ${identifier(systemRole)};
`
}

/** Leases: who may do what only one may do, with an epoch that every later write must carry. */
export function leaseMigration({ systemRole }: Pick<TableMigrationOptions, 'systemRole'>): string {
  return `
create table if not exists leases (
  name text primary key,
  holder text not null,
  epoch bigint not null default 1,
  expires_at timestamptz not null
);
alter table leases enable row level security;
alter table leases force row level security;
drop policy if exists leases_system on leases;
create policy leases_system on leases for all to ${identifier(systemRole)} using (true) with check (true);
grant select, insert, update, delete on leases to ${identifier(systemRole)};
`
}

function identifier(name: string): string {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(name)) {
    throw new TypeError(
      `${JSON.stringify(name)} is not a plain role name: lower-case letters, digits and underscores.`,
    )
  }
  return `"${name}"`
}
