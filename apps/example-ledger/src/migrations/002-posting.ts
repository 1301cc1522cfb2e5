import { hasAnyRole } from '@quintet/rls'
import { currentRoles } from '@quintet/rls/migrations'
import { sql, type Kysely } from 'kysely'

/** Errors that callers are told of: the code as the message, facts as JSON in the detail. */
const refuse = (code: string, facts = "'{}'"): string =>
  `raise exception using errcode = 'LEDGR', message = '${code}', detail = ${facts}`

/** What every function begins with: in whose name it works. The functions are run with the rights of their owner. */
const caller = `
  tenant constant uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
  me constant uuid := nullif(current_setting('app.user_id', true), '')::uuid;
  is_owner constant boolean := coalesce(${hasAnyRole(['owner'])}, false);`

const definer = `language plpgsql security definer set search_path = pg_catalog, public, pg_temp`

/** What the functions for callers give, a transfer and whether it was there before, and how they begin. */
const returnsTransfer = `returns table (
  id uuid, kind text, from_account uuid, to_account uuid, amount bigint, currency text, status text, reverses uuid,
  minor_units smallint, payer uuid, payee uuid, replayed boolean)
${definer} as $$
#variable_conflict use_column
declare${caller}`

/** Writes both entries of a transfer and both balances. The accounts are locked. */
const postEntries = `
create function post_entries(posted transfers) returns void language plpgsql set search_path = pg_catalog, public, pg_temp as $$
declare
  side record;
  reached bigint;
begin
  for side in select * from (values (posted.from_account, -posted.amount), (posted.to_account, posted.amount))
    as sides (account, amount) loop
    update accounts set balance = balance + side.amount, version = version + 1
      where tenant_id = posted.tenant_id and id = side.account returning balance into reached;
    insert into entries (tenant_id, transfer_id, account_id, amount, balance_after)
      values (posted.tenant_id, posted.id, side.account, side.amount, reached);
  end loop;
end $$`

/**
 * Posts a transfer in one statement: checks the caller, the key, the accounts and the amount, and writes both entries and
 * both balances. The caller is that of the context; no parameter says who calls.
 */
const postTransfer = `
create function post_transfer(new_id uuid, wanted text, source uuid, target uuid, units numeric, request_key text, original uuid,
  epoch integer)
${returnsTransfer}
  source_account accounts;
  target_account accounts;
  money currencies;
  base transfers;
  made transfers;
  minor numeric;
  brought_in numeric;
  again boolean := true;
begin
  if tenant is null or me is null then raise insufficient_privilege; end if;
  if wanted <> 'transfer' and not is_owner then ${refuse('ERR_LEDGER_NOT_OWNER')}; end if;
  -- Two calls with the same key wait for each other; the second one then finds what the first one made.
  perform pg_advisory_xact_lock(hashtextextended(jsonb_build_array(tenant, me, wanted, request_key)::text, 0));

  if wanted = 'reversal' then
    select * into base from transfers where tenant_id = tenant and transfers.id = original;
    if not found then ${refuse('ERR_LEDGER_NO_TRANSFER')}; end if;
    if base.kind = 'reversal' or base.status in ('awaiting', 'rejected') then ${refuse('ERR_LEDGER_NOT_REVERSIBLE')}; end if;
    source := base.to_account;
    target := base.from_account;
  elsif wanted = 'fund' then
    select * into target_account from accounts where tenant_id = tenant and accounts.id = target and owner_id is not null;
    if not found then ${refuse('ERR_LEDGER_NO_ACCOUNT', `jsonb_build_object('account', target)::text`)}; end if;
    insert into accounts (tenant_id, owner_id, currency) values (tenant, null, target_account.currency)
      on conflict (tenant_id, currency) where owner_id is null do nothing;
    select accounts.id into source from accounts
      where tenant_id = tenant and owner_id is null and currency = target_account.currency;
  end if;

  -- Always in the order of their ids, so that two transfers between them cannot wait for each other for ever.
  perform from accounts where tenant_id = tenant and accounts.id in (source, target) order by accounts.id for update;
  select * into source_account from accounts where tenant_id = tenant and accounts.id = source;
  if not found then ${refuse('ERR_LEDGER_NO_ACCOUNT', `jsonb_build_object('account', source)::text`)}; end if;
  select * into target_account from accounts where tenant_id = tenant and accounts.id = target;
  if not found then ${refuse('ERR_LEDGER_NO_ACCOUNT', `jsonb_build_object('account', target)::text`)}; end if;
  if wanted = 'transfer' then
    if source_account.owner_id is distinct from me and not (is_owner and source_account.owner_id is not null) then
      ${refuse('ERR_LEDGER_NOT_YOUR_ACCOUNT')};
    end if;
    if source = target then ${refuse('ERR_LEDGER_SAME_ACCOUNT')}; end if;
    if target_account.owner_id is null then
      ${refuse('ERR_LEDGER_NO_ACCOUNT', `jsonb_build_object('account', target)::text`)};
    end if;
  end if;
  if source_account.currency <> target_account.currency then
    ${refuse('ERR_LEDGER_CURRENCIES_DIFFER', `jsonb_build_object('from', source_account.currency, 'to', target_account.currency)::text`)};
  end if;
  select * into money from currencies where code = source_account.currency;
  -- In numeric throughout: a power of an integer is a double, which has no more than 15 digits.
  minor := case when wanted = 'reversal' then base.amount else units * 10::numeric ^ money.minor_units end;
  if minor <> trunc(minor) or minor <= 0 or minor > 1e15 then
    ${refuse('ERR_LEDGER_BAD_AMOUNT', `jsonb_build_object('currency', money.code, 'places', money.minor_units)::text`)};
  end if;

  -- Only who may make the transfer is told what became of it.
  select * into made from transfers
    where tenant_id = tenant and created_by = me and kind = wanted and idempotency_key = request_key;
  if found then
    if made.from_account <> source or made.to_account <> target or made.amount <> minor
      or made.reverses is distinct from original then ${refuse('ERR_LEDGER_KEY_REUSED')}; end if;
  else
    if wanted = 'reversal' and exists (select from transfers where reverses = original) then
      ${refuse('ERR_LEDGER_NOT_REVERSIBLE')};
    end if;
    if source_account.owner_id is not null and source_account.balance < minor then
      ${refuse(
        'ERR_LEDGER_OVERDRAFT',
        `jsonb_build_object('balance', source_account.balance::text, 'amount', minor::bigint::text, 'currency', money.code,
        'places', money.minor_units)::text`,
      )};
    end if;
    again := false;
    -- The equity account is locked: what others bring in at the same time is counted. Small amounts add up to a large one.
    if wanted = 'fund' then
      select coalesce(sum(amount), 0) into brought_in from transfers
        where tenant_id = tenant and kind = 'fund' and currency = money.code and approved_by is null
          and status in ('posted', 'settled') and created_at > now() - interval '1 day';
    end if;
    insert into transfers
      (id, tenant_id, idempotency_key, kind, from_account, to_account, amount, currency, created_by, maker_epoch, reverses, status)
    values (new_id, tenant, request_key, wanted, source, target, minor, money.code, me, epoch, original,
      case when wanted = 'fund' and brought_in + minor > money.four_eyes_above then 'awaiting' else 'posted' end)
    returning * into made;
    if made.status = 'posted' then perform post_entries(made); end if;
  end if;
  return query select made.id, made.kind, made.from_account, made.to_account, made.amount, made.currency, made.status,
    made.reverses, money.minor_units, source_account.owner_id, target_account.owner_id, again;
end $$`

/** A transfer that was looked at, as the functions give it. */
const describeMade = `select made.id, made.kind, made.from_account, made.to_account, made.amount, made.currency, made.status,
    made.reverses, currencies.minor_units, payers.owner_id, payees.owner_id, again
    from currencies, accounts as payers, accounts as payees
    where code = made.currency and payers.id = made.from_account and payees.id = made.to_account`

/** Posts what awaits a second pair of eyes. */
const approveTransfer = `
create function approve_transfer(wanted uuid)
${returnsTransfer}
  made transfers;
  again boolean := true;
begin
  if tenant is null or me is null then raise insufficient_privilege; end if;
  if not is_owner then ${refuse('ERR_LEDGER_NOT_OWNER')}; end if;
  select * into made from transfers where tenant_id = tenant and transfers.id = wanted for update;
  if not found then ${refuse('ERR_LEDGER_NO_TRANSFER')}; end if;
  if made.created_by = me then ${refuse('ERR_LEDGER_FOUR_EYES')}; end if;
  if made.status = 'rejected' then ${refuse('ERR_LEDGER_NOT_AWAITING')}; end if;
  if made.status = 'awaiting' then
    again := false;
    perform from accounts where tenant_id = tenant and accounts.id in (made.from_account, made.to_account)
      order by accounts.id for update;
    update transfers set status = 'posted', approved_by = me where transfers.id = wanted returning * into made;
    perform post_entries(made);
  end if;
  return query ${describeMade};
end $$`

/** Rejects what awaits a second pair of eyes; its maker withdraws it so. */
const rejectTransfer = `
create function reject_transfer(wanted uuid)
${returnsTransfer}
  made transfers;
  again boolean := true;
begin
  if tenant is null or me is null then raise insufficient_privilege; end if;
  if not is_owner then ${refuse('ERR_LEDGER_NOT_OWNER')}; end if;
  select * into made from transfers where tenant_id = tenant and transfers.id = wanted for update;
  if not found then ${refuse('ERR_LEDGER_NO_TRANSFER')}; end if;
  if made.status not in ('awaiting', 'rejected') then ${refuse('ERR_LEDGER_NOT_AWAITING')}; end if;
  if made.status = 'awaiting' then
    again := false;
    update transfers set status = 'rejected', rejected_by = me where transfers.id = wanted returning * into made;
  end if;
  return query ${describeMade};
end $$`

/** Rejects what a user has asked for and no one has approved of, when they are no owner any more. */
const rejectTransfersOf = `
create function reject_transfers_of(of_tenant uuid, maker uuid) returns void language sql security definer
set search_path = pg_catalog, public, pg_temp as $$
  update transfers set status = 'rejected'
    where tenant_id = of_tenant and created_by = maker and status = 'awaiting'
$$`

/** What is posted stays posted: balances, transfers and entries are written by the functions above alone. */
const keepPosted = `
create function keep_posted() returns trigger language plpgsql as $$
begin
  if current_user = (select pg_get_userbyid(relowner) from pg_class where oid = tg_relid) then
    return coalesce(new, old);
  end if;
  if tg_table_name = 'accounts' and tg_op <> 'DELETE' then
    if new.balance = (case when tg_op = 'UPDATE' then old.balance else 0 end) then return new; end if;
  elsif tg_table_name = 'transfers' and tg_op = 'UPDATE' then
    if old.status = 'posted' and new.status = 'settled'
      and to_jsonb(new) - array['status', 'settled_epoch'] = to_jsonb(old) - array['status', 'settled_epoch'] then
      return new;
    end if;
  end if;
  raise exception using errcode = 'insufficient_privilege', message = 'what is posted stays posted';
end $$`

/** The entries of a transfer are two, and sum to zero, when its transaction commits. */
const balanced = `
create function assert_balanced() returns trigger ${definer} as $$
begin
  if (select count(*) <> 2 or sum(amount) <> 0 from entries
      where tenant_id = new.tenant_id and transfer_id = new.transfer_id) then
    raise exception using errcode = 'check_violation', message = 'the entries of a transfer do not sum to zero';
  end if;
  return null;
end $$`

/**
 * Removes a part of the books of a tenant that is removed itself, in the order of what refers to what: so many rows of one
 * table. Gives how many went, and 0 when nothing is left.
 */
const eraseTenant = `
create function erase_tenant(erased uuid, most integer) returns integer language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare
  part text;
  gone integer;
begin
  insert into erased_tenants values (erased) on conflict do nothing;
  foreach part in array array['entries where tenant_id = $1', 'transfers where tenant_id = $1 and reverses is not null',
      'transfers where tenant_id = $1', 'accounts where tenant_id = $1'] loop
    execute format('delete from %s where ctid = any (array(select ctid from %s limit $2))',
      split_part(part, ' ', 1), part) using erased, most;
    get diagnostics gone = row_count;
    if gone > 0 then return gone; end if;
  end loop;
  return 0;
end $$`

export async function up(db: Kysely<unknown>): Promise<void> {
  const { tenant, system } = await currentRoles(db)
  for (const statement of [
    postEntries,
    postTransfer,
    approveTransfer,
    rejectTransfer,
    rejectTransfersOf,
    keepPosted,
    balanced,
    eraseTenant,
    `revoke all on function post_entries, post_transfer, approve_transfer, reject_transfer, reject_transfers_of,
     assert_balanced, erase_tenant from public`,
    `grant execute on function post_transfer, approve_transfer, reject_transfer to "${tenant}"`,
    `grant execute on function erase_tenant, reject_transfers_of to "${system}"`,
    'create trigger keep_posted before insert or update or delete on accounts for each row execute function keep_posted()',
    'create trigger keep_posted before insert or update or delete on transfers for each row execute function keep_posted()',
    'create trigger keep_posted before insert or update or delete on entries for each row execute function keep_posted()',
    `create constraint trigger balanced after insert on entries deferrable initially deferred
     for each row execute function assert_balanced()`,
  ]) {
    await sql.raw(statement).execute(db)
  }
}

export async function down(db: Kysely<unknown>): Promise<void> {
  for (const table of ['accounts', 'transfers', 'entries'])
    await sql`drop trigger keep_posted on ${sql.id(table)}`.execute(db)
  await sql`drop trigger balanced on entries`.execute(db)
  await sql`drop function erase_tenant, assert_balanced, keep_posted, reject_transfers_of, reject_transfer, approve_transfer,
    post_transfer, post_entries`.execute(db)
}
