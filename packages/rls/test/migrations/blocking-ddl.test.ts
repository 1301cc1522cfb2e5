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
