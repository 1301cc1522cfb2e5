import type { Client } from 'pg'
import { quoteName } from '../sql/sql-text.ts'

/**
 * Puts aside what would act on rows that are not new: triggers, rules, references that are checked before the end,
 * and constraints that were never valid for the rows that are there. All of it is as it was after the release.
 */
export async function holdConstraints(
  client: Client,
  tables: readonly string[],
): Promise<() => Promise<void>> {
  const { rows } = await client.query<{ hold: string; release: string }>(heldStatement, [tables])
  for (const { hold } of rows) await client.query(hold)
  await client.query('set constraints all deferred')
  return async () => {
    await client.query('set constraints all immediate')
    for (const { release } of rows.toReversed()) await client.query(release)
  }
}

/** @throws what the function makes of a sentence: for what could be saved, and would be refused when it is restored. */
export async function refuseUnrestorable(client: Client, refused: (reason: string) => Error): Promise<void> {
  const { rows } = await client.query<{ type: string; name: string }>(
    `select contypid::regtype::text as type, conname as name from pg_constraint
     where contypid <> 0 and not convalidated order by 1, 2`,
  )
  const [first] = rows
  if (first)
    throw refused(
      `the domain ${first.type} has the constraint ${quoteName(first.name)}, which is NOT VALID: validate it.`,
    )
}

const named = "n.nspname || '.' || c.relname = any($1)"

/** Statements that put something aside, each with the one that takes it back. */
const heldStatement = `
select format('alter table only %I.%I disable trigger %I', n.nspname, c.relname, t.tgname) as hold,
  format('alter table only %I.%I enable %s trigger %I', n.nspname, c.relname,
    case t.tgenabled when 'A' then 'always' when 'R' then 'replica' else '' end, t.tgname) as release
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and t.tgenabled <> 'D' and ${named}
union all
select format('alter table only %I.%I disable rule %I', n.nspname, c.relname, r.rulename),
  format('alter table only %I.%I enable %s rule %I', n.nspname, c.relname,
    case r.ev_enabled when 'A' then 'always' when 'R' then 'replica' else '' end, r.rulename)
from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
where r.ev_enabled <> 'D' and ${named}
union all
select format('alter table %I.%I alter constraint %I deferrable initially deferred', n.nspname, c.relname, f.conname),
  format('alter table %I.%I alter constraint %I not deferrable', n.nspname, c.relname, f.conname)
from pg_constraint f join pg_class c on c.oid = f.conrelid join pg_namespace n on n.oid = c.relnamespace
where f.contype = 'f' and f.convalidated and not f.condeferrable and f.conparentid = 0 and ${named}
union all
select format('alter table %I.%I drop constraint %I', n.nspname, c.relname, f.conname),
  format('alter table %I.%I add constraint %I %s', n.nspname, c.relname, f.conname, pg_get_constraintdef(f.oid))
    || coalesce(format('; comment on constraint %I on %I.%I is %L', f.conname, n.nspname, c.relname, obj_description(f.oid, 'pg_constraint')), '')
from pg_constraint f join pg_class c on c.oid = f.conrelid join pg_namespace n on n.oid = c.relnamespace
where not f.convalidated and f.conparentid = 0 and f.coninhcount = 0 and ${named}`
