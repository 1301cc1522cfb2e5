import { leaseMigration, outboxMigration } from '@quintet/queue'
import { idempotencyTableSql } from '@quintet/rls/data'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'
import { policies } from '../policies.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table currencies (
      code text primary key check (code ~ '^[A-Z]{3}$'),
      -- ISO 4217: how many decimal places an amount has.
      minor_units smallint not null check (minor_units between 0 and 4),
      -- In minor units: what owners bring into a tenant in a day beyond it waits for the approval of another owner.
      four_eyes_above bigint not null
    )`.execute(db)
  await sql`
    insert into currencies (code, minor_units, four_eyes_above) values
      ('CHF', 2, 1000000), ('EUR', 2, 1000000), ('GBP', 2, 1000000), ('JPY', 0, 1500000), ('KWD', 3, 3000000),
      ('USD', 2, 1000000)`.execute(db)
  await sql`
    create table accounts (
      id uuid primary key default gen_random_uuid(),
      tenant_id uuid not null,
      owner_id uuid,
      currency text not null references currencies,
      balance bigint not null default 0,
      version integer not null default 1,
      created_at timestamptz not null default now(),
      -- What is not the tenant's equity can never be overdrawn, whatever the code does.
      constraint no_overdraft check (owner_id is null or balance >= 0),
      unique (tenant_id, id)
    )`.execute(db)
  await sql`create unique index one_equity_account on accounts (tenant_id, currency) where owner_id is null`.execute(
    db,
  )
  await sql`create index accounts_by_owner on accounts (tenant_id, owner_id, id)`.execute(db)
  await sql`create index accounts_by_currency on accounts (currency)`.execute(db)
  await sql`
    create table transfers (
      id uuid primary key default gen_random_uuid(),
      tenant_id uuid not null,
      idempotency_key text not null check (length(idempotency_key) <= 200),
      kind text not null check (kind in ('fund', 'transfer', 'reversal')),
      from_account uuid not null,
      to_account uuid not null,
      amount bigint not null check (amount > 0),
      currency text not null references currencies,
      created_by uuid not null,
      -- How often all sessions of who made it had been ended then: an approval is held against it.
      maker_epoch integer not null default 0,
      approved_by uuid check (approved_by <> created_by),
      rejected_by uuid,
      -- The transfer that this one takes back; each is taken back once.
      reverses uuid unique,
      status text not null default 'posted' check (status in ('awaiting', 'rejected', 'posted', 'settled')),
      settled_epoch bigint,
      created_at timestamptz not null default now(),
      -- A key is its user's own, for one kind of transfer: nobody else can take it, or read what it stands for.
      unique (tenant_id, created_by, kind, idempotency_key),
      unique (tenant_id, id),
      check ((kind = 'reversal') = (reverses is not null)),
      foreign key (tenant_id, from_account) references accounts (tenant_id, id),
      foreign key (tenant_id, to_account) references accounts (tenant_id, id),
      foreign key (tenant_id, reverses) references transfers (tenant_id, id)
    )`.execute(db)
  await sql`create index transfers_by_source on transfers (tenant_id, from_account)`.execute(db)
  await sql`create index transfers_by_target on transfers (tenant_id, to_account)`.execute(db)
  await sql`create index transfers_by_reversed on transfers (tenant_id, reverses)`.execute(db)
  await sql`create index transfers_by_currency on transfers (currency)`.execute(db)
  await sql`
    create index transfers_brought_in on transfers (tenant_id, currency, created_at)
    where kind = 'fund' and approved_by is null`.execute(db)
  await sql`create index transfers_to_settle on transfers (created_at) where status = 'posted'`.execute(db)
  await sql`
    create table entries (
      id uuid primary key default gen_random_uuid(),
      -- The order in which the entries of one account were made.
      position bigint generated always as identity,
      tenant_id uuid not null,
      transfer_id uuid not null,
      account_id uuid not null,
      amount bigint not null check (amount <> 0),
      balance_after bigint not null,
      created_at timestamptz not null default now(),
      foreign key (tenant_id, transfer_id) references transfers (tenant_id, id),
      foreign key (tenant_id, account_id) references accounts (tenant_id, id)
    )`.execute(db)
  await sql`create index entries_by_transfer on entries (tenant_id, transfer_id)`.execute(db)
  await sql`create index entries_by_account on entries (tenant_id, account_id, position)`.execute(db)
  // Their books are erased part by part, and do not add up meanwhile.
  await sql`create table erased_tenants (tenant_id uuid primary key)`.execute(db)
  await sql.raw(idempotencyTableSql).execute(db)
  const roles = await currentRoles(db)
  await applyPolicies(db, policies, roles)
  await sql.raw(outboxMigration({ tenantRole: roles.tenant, systemRole: roles.system })).execute(db)
  await sql.raw(leaseMigration({ systemRole: roles.system })).execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table leases, outbox, idempotency_keys, erased_tenants, entries, transfers, accounts, currencies`.execute(
    db,
  )
  await sql`drop function outbox_claim, outbox_notify`.execute(db)
}
