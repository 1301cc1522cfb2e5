import { describe, expect, it } from 'vitest'
import { splitSql } from '../../src/migrations/split-sql.ts'

describe('splitSql', () => {
  it.each([
    ['select 1; select 2;', 2],
    ["select ';'; select 'it''s;'; select E'\\';'", 3],
    ['select 1 as "a;b"', 1],
    ['do $$ begin; end; $$; do $x$ $$ ; $x$', 2],
    ['-- a; comment\nselect 1 /* a; /* nested; */ ; */; -- end;', 1],
    [
      'create function f() returns int begin atomic select case when true then 1 end; select 2; end; select 3',
      2,
    ],
    ['; ;', 0],
  ])('%s has %i statements', (text, count) => {
    expect(splitSql(text)).toHaveLength(count)
  })
})
