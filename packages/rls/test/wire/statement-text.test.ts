import { describe, expect, it } from 'vitest'
import { createStatementReader, readStatement } from '../../src/wire/statement-text.ts'

describe('readStatement', () => {
  it.each([
    ['begin', 'begin'],
    ['  BEGIN ISOLATION LEVEL SERIALIZABLE', 'begin'],
    ['/* why */ -- and\n start transaction read only', 'begin'],
    ['commit', 'end'],
    ['END', 'end'],
    ['rollback', 'end'],
    ['abort work', 'end'],
    ["prepare transaction 'x'", 'end'],
    ['commit and chain', 'end-and-chain'],
    ['rollback to savepoint a', 'rollback-to'],
    ['ROLLBACK WORK TO a', 'rollback-to'],
    ['/* a /* b */ c */ commit', 'end'],
    ['/* /* */ commit */ select 1', 'other'],
    ['-- a\rcommit', 'end'],
    ['start/**/transaction', 'begin'],
    ['rollback/* /**/ */to a', 'rollback-to'],
    ['savepoint a', 'other'],
    ['select 1', 'other'],
    ['beginning', 'other'],
    ['', 'other'],
  ])('takes %j for %s', (text, kind) => {
    expect(readStatement(text).kind).toBe(kind)
  })

  it.each([
    'listen x',
    'prepare a as select 1',
    'declare c cursor with hold for select 1',
    "load 'x'",
    'create temp table x ()',
    'create local temporary table x ()',
    'select 1 into temp x',
    'set search_path = x',
    "set session statement_timeout = '1s'",
    'select pg_advisory_lock(1)',
    'select pg_try_advisory_lock(1)',
    "do $$ begin execute 'declare c cursor with hold for select 1'; end $$",
    'listen/**/x',
    'set/**/search_path = x',
    'set/* /* */ local */search_path = x',
    '-- a\rset search_path = x',
    'select U&"pg\\005fadvisory_lock"(1)',
  ])('sees that %j stays on the connection', (text) => {
    expect(readStatement(text).staysOnConnection).toBe(true)
  })

  it.each([
    'select * from settings',
    "set local lock_timeout = '1s'",
    'set constraints all deferred',
    'select pg_advisory_xact_lock(1)',
    "prepare transaction 'x'",
    'update notes set title = $1',
    'insert into notes (title) values ($1)',
  ])('sees nothing in %j', (text) => {
    expect(readStatement(text)).toMatchObject({ staysOnConnection: false })
  })

  it.each([
    ['select * from notes', true],
    ['select "notes".* from notes', true],
    ['select id, * from notes', true],
    ['select distinct * from notes', true],
    ['update notes set size = 1 returning *', true],
    ['select count(*) from notes', false],
    ['select size * 2 from notes', false],
  ])('sees whether %j reads all columns', (text, all) => {
    expect(readStatement(text).readsAllColumns).toBe(all)
  })

  it('remembers the last texts only, and no long ones', () => {
    const read = createStatementReader(2)
    const first = read('select 1')
    expect(read('select 1')).toBe(first)
    read('select 2')
    read('select 3')
    expect(read('select 1')).not.toBe(first)
    const long = `select '${'x'.repeat(9_000)}'`
    expect(read(long)).not.toBe(read(long))
  })
})
