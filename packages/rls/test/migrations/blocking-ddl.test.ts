import { describe, expect, it } from 'vitest'
import { findBlockingDdl } from '../../src/migrations/blocking-ddl.ts'
import { splitSql } from '../../src/migrations/split-sql.ts'

const rules = (text: string): readonly string[] => findBlockingDdl(splitSql(text)).map(({ rule }) => rule)

describe('findBlockingDdl', () => {
  it.each([
    ['blocking-index', 'create index on notes (id)'],
    ['blocking-index', 'CREATE UNIQUE INDEX IF NOT EXISTS x ON ONLY "public"."notes" USING btree (id)'],
    ['blocking-index', '/* why */ reindex table notes'],
    ['blocking-constraint', 'alter table notes add constraint c check (id > 0)'],
    ['blocking-constraint', 'alter table notes add foreign key (id) references others (id)'],
    ['blocking-constraint', 'alter table notes add column other int references others'],
    ['blocking-unique', 'alter table if exists only notes add constraint u unique (id, title)'],
    ['blocking-unique', 'alter table notes add primary key (id)'],
    ['blocking-unique', 'alter table notes add exclude using gist (span with &&)'],
    ['blocking-not-null', 'alter table notes alter column id set not null'],
    ['blocking-rewrite', 'alter table notes alter id type bigint'],
    ['blocking-rewrite', 'alter table notes alter column id set data type bigint using id::bigint'],
    ['blocking-rewrite', 'alter table notes add column key uuid default gen_random_uuid()'],
    ['blocking-rewrite', 'alter table notes add column n bigserial'],
    ['blocking-rewrite', 'alter table notes add column n int generated always as (id + 1) stored'],
    ['blocking-rewrite', 'alter table notes set unlogged'],
    ['blocking-rewrite', 'cluster notes using notes_pkey'],
    ['blocking-rewrite', 'vacuum full notes'],
    ['blocking-rewrite', 'vacuum (analyze, full) notes'],
    ['blocking-rewrite', 'refresh materialized view totals'],
    ['blocking-lock', 'lock table notes in exclusive mode'],
    ['blocking-unique', 'alter table notes add column email text unique'],
    ['blocking-unique', 'alter table notes add id2 int primary key'],
    ['blocking-constraint', 'alter table notes add column n int check (n > 0)'],
    ['blocking-rewrite', "alter table notes add column tok text default 'x' || gen_random_uuid()::text"],
    ['blocking-not-null', 'alter table notes alter "a b" set not null'],
    ['blocking-rewrite', 'alter table notes alter column "a b" type bigint'],
    ['blocking-constraint', "alter table notes attach partition old for values from ('2020') to ('2021')"],
    ['blocking-constraint', 'alter domain email add constraint c check (value > 0)'],
    ['blocking-index', 'reindex database media'],
    ['blocking-index', 'reindex (verbose) schema public'],
    ['blocking-rewrite', 'vacuum full'],
    ['blocking-rewrite', 'vacuum (full, analyze)'],
    ['blocking-not-null', 'do $$ begin if true then alter table notes alter id set not null; end if; end $$'],
    ['blocking-index', "do $x$ begin execute format('create index on %I (id)', 'notes'); end $x$"],
  ])('finds %s in %s', (rule, text) => {
    expect(rules(text)).toEqual([rule])
  })

  it.each([
    'create index concurrently on notes (id)',
    'reindex table concurrently notes',
    'refresh materialized view concurrently totals',
    'alter table notes add constraint c check (id > 0) not valid',
    'alter table notes add foreign key (id) references others (id) not valid',
    'alter table notes validate constraint c',
    'alter table notes add constraint u unique using index by_id',
    'alter table notes add column title text',
    "alter table notes add column title text not null default 'set not null, add primary key'",
    'alter table notes add column made timestamptz not null default now()',
    "alter table notes add column tenant_id uuid default nullif(current_setting('app.tenant_id', true), '')::uuid",
    'alter table notes enable row level security, force row level security',
    'create table notes (id int primary key); create index on notes (id); alter table public.notes add check (id > 0)',
    '-- create index on notes (id)\nselect 1',
    'alter table notes add column price numeric(10, 2) default 0::numeric(10, 2) not null',
    'alter table notes add column "unique" text',
    'alter domain email add constraint c check (value > 0) not valid',
    'reindex database concurrently media',
    'create table parts (id int); alter table parts add column n int unique',
    "do $$ begin perform 'create index on notes (id)'; end $$",
  ])('finds nothing in %s', (text) => {
    expect(rules(text)).toEqual([])
  })

  it('finds each action of one statement', () => {
    expect(rules('alter table notes alter a set not null, add unique (a, b), add column c int')).toEqual([
      'blocking-not-null',
      'blocking-unique',
    ])
  })
})
