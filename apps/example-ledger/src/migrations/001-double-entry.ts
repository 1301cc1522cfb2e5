import { leaseMigration, outboxMigration } from '@quintet/queue'
import { applyPolicies, currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'
import { policies } from '../policies.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table accounts (
      id uuid primary key default gen_random_uuid(),
      tenant_id uuid not null,
      owner_id uuid,
      currency text not null check (currency ~ '^[A-Z]{3}$'),
      balance bigint not null,
      version integer not null default 1,
      created_at timestamptz not null default now(),
      -- What is not the tenant's equity can never be overdrawn, whatever the code does.
      constraint no_overdraft check (owner_id is null or balance >= 0),
      unique (tenant_id, id)
    )`.execute(db)
  await sql`create unique index one_equity_account on accounts (tenant_id, currency) where owner_id is null`.execute(
    db,
  )
  await sql`
    create table transfers (
      id uuid primary key default gen_random_uuid(),
      tenant_id uuid not null,
      idempotency_key text not null,
      kind text not null check (kind in ('fund', 'transfer')),
      from_account uuid not null,
      to_account uuid not null,
      amount bigint not null check (amount > 0),
      currency text not null,
      created_by uuid not null,
      status text not null default 'posted' check (status in ('posted', 'settled')),
      settled_epoch bigint,
      created_at timestamptz not null default now(),
      -- A key is its user's own, for one kind of transfer: nobody else can take it, or read what it stands for.
      unique (tenant_id, created_by, kind, idempotency_key),
      unique (tenant_id, id),
      foreign key (tenant_id, from_account) references accounts (tenant_id, id),
      foreign key (tenant_id, to_account) references accounts (tenant_id, id)
    )`.execute(db)
  await sql`create index accounts_by_owner on accounts (tenant_id, owner_id, id)`.execute(db)
  await sql`create index transfers_by_source on transfers (tenant_id, from_account)`.execute(db)
  await sql`create index transfers_by_target on transfers (tenant_id, to_account)`.execute(db)
  await sql`create index transfers_to_settle on transfers (created_at) where status = 'posted'`.execute(db)
  await sql`
    create table entries (
      id uuid primary key default gen_random_uuid(),
      tenant_id uuid not null,
      transfer_id uuid not null,
      account_id uuid not null,
      amount bigint not null,
      created_at timestamptz not null default now(),
      foreign key (tenant_id, transfer_id) references transfers (tenant_id, id),
      foreign key (tenant_id, account_id) references accounts (tenant_id, id)
    )`.execute(db)
  await sql`create index entries_by_transfer on entries (tenant_id, transfer_id)`.execute(db)
  await sql`create index entries_by_account on entries (tenant_id, account_id)`.execute(db)
  const roles = await currentRoles(db)
  await applyPolicies(db, policies, roles)
  await sql.raw(outboxMigration({ tenantRole: roles.tenant, systemRole: roles.system })).execute(db)
  await sql.raw(leaseMigration({ systemRole: roles.system })).execute(db)
}

export async function down(db: Kysely<unknown>): Promise<void> {
  await sql`drop table leases, outbox, entries, transfers, accounts`.execute(db)
  await sql`drop function outbox_notify`.execute(db)
}
