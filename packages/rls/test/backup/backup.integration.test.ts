import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync, gzipSync } from 'node:zlib'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { backupDatabase, restoreDatabase } from '../../src/data.ts'
import { createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

describe('a backup', () => {
  let folder: string
  let other: TwoTenants

  beforeAll(async () => {
    other = await createTwoTenants()
    folder = await mkdtemp(join(tmpdir(), 'quintet-backup-'))
  })
  afterAll(async () => {
    await other.drop()
    await rm(folder, { recursive: true })
  })

  /** Saves and restores a table that the statements make, and compares what is there before and after. */
  const roundTrip = async (...statements: readonly string[]): Promise<void> => {
    const file = join(folder, 'one.gz')
    const rows = () =>
      other.asAdmin<{ row: string }>('select (saved.*)::text as row from only x saved order by 1')
    const state = () =>
      other.asAdmin(
        `select conname as name, convalidated as state, pg_get_constraintdef(oid) as text, obj_description(oid) as note
         from pg_constraint where conrelid = 'x'::regclass
         union all select tgname, true, tgenabled::text, null from pg_trigger where tgrelid = 'x'::regclass and not tgisinternal
         union all select rulename, true, ev_enabled::text, null from pg_rewrite where ev_class = 'x'::regclass order by 1`,
      )
    try {
      await other.asOwner(...statements)
      const before = [await rows(), await state()]
      expect(before[0]).not.toEqual([])
      await backupDatabase({ url: other.ownerUrl, file })
      await other.asOwner('truncate x cascade')
      await restoreDatabase({ url: other.ownerUrl, file })
      expect([await rows(), await state()]).toEqual(before)
    } finally {
      await other.asOwner('drop table if exists x, y cascade', 'drop function if exists change() cascade')
    }
  }

  it('holds text of every character', async () => {
    const file = join(folder, 'characters.gz')
    const blocks = Array.from({ length: 0x1100 }, (_, block) =>
      Array.from({ length: 256 }, (_, low) => String.fromCodePoint(block * 256 + low)).join(''),
    ).filter((text) => text.isWellFormed())
    const texts = blocks.map((text) => text.replaceAll('\0', ''))
    const client = new Client({ connectionString: other.ownerUrl })
    await client.connect()
    try {
      await client.query('create table x (id int generated always as identity, text text)')
      await client.query('insert into x (text) select unnest($1::text[])', [texts])
      await backupDatabase({ url: other.ownerUrl, file })
      await client.query('truncate x')
      await restoreDatabase({ url: other.ownerUrl, file })
      const { rows } = await client.query<{ text: string }>('select text from x order by id')
      expect(rows.map(({ text }) => text)).toEqual(texts)
    } finally {
      await client.query('drop table x')
      await client.end()
    }
  })

  it.each(['t', 'row', 'saved', 'x', 'rows', 'sum'])('holds every column beside one called %s', (name) =>
    roundTrip(
      `create table x (id int primary key, "${name}" text, note text)`,
      `insert into x values (1, 'a', 'b')`,
    ),
  )

  it.each([
    ['no columns', ['create table x ()', 'insert into x default values', 'insert into x default values']],
    [
      'none but computed columns',
      ['create table x (one int generated always as (1) stored)', 'insert into x default values'],
    ],
    [
      'a deferrable reference to itself',
      [
        'create table x (id int primary key, parent int references x deferrable initially immediate)',
        'insert into x select n, 2000 - n from generate_series(0, 2000) n',
      ],
    ],
    [
      'a reference that was never valid for its rows',
      [
        'create table y (id int primary key)',
        'create table x (id int, y int)',
        'insert into x values (1, 9)',
        'alter table x add constraint late foreign key (y) references y not valid',
        `comment on constraint late on x is 'it''s late'`,
      ],
    ],
    [
      'a check that was never valid for its rows',
      [
        'create table x (id int)',
        'insert into x values (1)',
        'alter table x add constraint big check (id > 5) not valid',
      ],
    ],
    ...['enable always', 'enable replica', 'enable', 'disable'].map((mode): [string, string[]] => [
      `a trigger in mode ${mode}`,
      [
        'create table x (id int)',
        'insert into x values (1)',
        `create function change() returns trigger language plpgsql as 'begin new.id = new.id + 1; return new; end'`,
        'create trigger change before insert on x for each row execute function change()',
        `alter table x ${mode} trigger change`,
      ],
    ]),
    [
      'a rule for INSERT',
      [
        'create table x (id int)',
        'insert into x values (1)',
        'create rule r as on insert to x do instead nothing',
      ],
    ],
  ])('holds a table with %s', (_, statements) => roundTrip(...statements))

  it('refuses a domain whose check was never valid when it saves', async () => {
    await other.asOwner(
      'create domain d as int',
      'create table x (d d)',
      'insert into x values (1)',
      'alter domain d add constraint big check (value > 5) not valid',
    )
    await expect(
      backupDatabase({ url: other.ownerUrl, file: join(folder, 'domain.gz') }),
    ).rejects.toMatchObject({ code: 'ERR_RLS_BACKUP_INVALID', message: expect.stringContaining('big') })
    await other.asOwner('drop table x', 'drop domain d')
  })

  it('reads the same under a login with other settings', async () => {
    const file = join(folder, 'settings.gz')
    const { owner } = other.roles
    await other.asOwner(
      'create table x (span interval, raw bytea, day date, price money)',
      `insert into x values ('1 day 02:03', '\\x00ff', '2026-02-03', 12.5)`,
    )
    for (const setting of [
      "intervalstyle = 'sql_standard'",
      "bytea_output = 'escape'",
      "datestyle = 'SQL, DMY'",
      "statement_timeout = '5s'",
    ])
      await other.asAdmin(`alter role ${owner} set ${setting}`)
    await backupDatabase({ url: other.ownerUrl, file })
    await other.asAdmin(`alter role ${owner} reset all`)
    await restoreDatabase({ url: other.ownerUrl, file })
    await other.asOwner('drop table x')
  })

  it('rejects for a folder that is not there, and leaves nothing open', async () => {
    await expect(backupDatabase({ url: other.ownerUrl, file: '/nowhere/at/all.gz' })).rejects.toMatchObject({
      code: 'ENOENT',
    })
    await vi.waitFor(async () =>
      expect(
        await other.asAdmin('select 1 from pg_stat_activity where usename = $1', [other.roles.owner]),
      ).toEqual([]),
    )
  })

  it('rejects when the file cannot grow any more, and leaves none', { timeout: 60_000 }, async () => {
    const own = await mkdtemp(join(tmpdir(), 'quintet-backup-'))
    await other.asOwner(
      'create table x (text text)',
      'insert into x select md5(n::text) from generate_series(1, 2000) n',
    )
    const module = pathToFileURL(join(import.meta.dirname, '../../src/data.ts')).href
    const script = `const { backupDatabase } = await import(${JSON.stringify(module)})
      await backupDatabase({ url: process.env.OWNER, file: ${JSON.stringify(join(own, 'big.gz'))} }).catch(({ code }) => console.log(code))`
    try {
      const { stdout } = await promisify(execFile)(
        'bash',
        ['-c', `trap '' XFSZ; ulimit -f 4; exec "$0" --input-type=module -e "$1"`, process.execPath, script],
        { env: { ...process.env, OWNER: other.ownerUrl } },
      )
      expect(stdout).toBe('EFBIG\n')
      expect(await readdir(own)).toEqual([])
    } finally {
      await other.asOwner('drop table x')
      await rm(own, { recursive: true })
    }
  })

  it('keeps two backups to one file apart, and leaves nothing beside it', async () => {
    const own = await mkdtemp(join(tmpdir(), 'quintet-backup-'))
    const file = join(own, 'both.gz')
    try {
      await Promise.all([1, 2, 3].map(() => backupDatabase({ url: other.ownerUrl, file })))
      await restoreDatabase({ url: other.ownerUrl, file })
      expect(await readdir(own)).toEqual(['both.gz'])
    } finally {
      await rm(own, { recursive: true })
    }
  })

  it.each([
    ['truncated', ['truncate x', 'insert into x select generate_series(1, 3)'], 3],
    ['rewritten', ['alter table x alter id type bigint'], 5],
    ['made', ['drop table x', 'create table x (id int)', 'insert into x values (1)'], 1],
    ['renamed', ['alter table x rename to y', 'insert into y values (1)'], 6],
  ])('holds the rows of a table that is %s meanwhile', async (_, statements, rows) => {
    const file = join(folder, 'meanwhile.gz')
    await other.asOwner(
      'create table first (id int)',
      'create table x (id int)',
      'insert into x select generate_series(1, 5)',
    )
    const holder = new Client({ connectionString: other.adminUrl })
    await holder.connect()
    try {
      await holder.query('begin; lock table first in access exclusive mode')
      const backup = backupDatabase({ url: other.ownerUrl, file })
      await vi.waitFor(
        async () =>
          expect(
            await other.asAdmin(
              `select query from pg_stat_activity where usename = $1 and wait_event_type = 'Lock'`,
              [other.roles.owner],
            ),
          ).toEqual([{ query: expect.stringContaining('only public.x') }]),
        10_000,
      )
      await other.asOwner(...statements)
      await holder.query('rollback')
      const { tables } = await backup
      expect(tables.filter(({ table }) => ['public.x', 'public.y'].includes(table))).toEqual([
        { table: expect.any(String), rows },
      ])
      await restoreDatabase({ url: other.ownerUrl, file })
    } finally {
      await holder.end()
      await other.asOwner('drop table if exists first, x, y')
    }
  })

  it('leaves sequences as they are when a restore fails, and sets them when it does not', async () => {
    const file = join(folder, 'sequence.gz')
    await other.asOwner(
      'create table numbered (id int generated always as identity primary key)',
      'create sequence "Odd one" increment by -2 maxvalue 7 start 7',
      'insert into numbered default values',
      `select nextval('"Odd one"')`,
    )
    const state = () =>
      other.asAdmin(
        `select (select last_value from numbered_id_seq) as ids, last_value as odd, is_called from "Odd one"`,
      )
    try {
      const saved = await state()
      await backupDatabase({ url: other.ownerUrl, file })
      await other.asOwner(...Array.from({ length: 5 }, () => 'insert into numbered default values'))
      await other.asOwner(`select nextval('"Odd one"')`)
      const before = await state()
      const broken = join(folder, 'broken.gz')
      await writeFile(broken, (await readFile(file)).subarray(0, -6))
      await expect(restoreDatabase({ url: other.ownerUrl, file: broken })).rejects.toMatchObject({
        code: 'ERR_RLS_BACKUP_INVALID',
      })
      expect(await state()).toEqual(before)
      await other.asOwner('insert into numbered default values')
      await restoreDatabase({ url: other.ownerUrl, file })
      expect(await state()).toEqual(saved)
      await other.asOwner('insert into numbered default values')
    } finally {
      await other.asOwner('drop table numbered', 'drop sequence "Odd one"')
    }
  })

  it('refuses a file without its sums', async () => {
    const file = join(folder, 'unsummed.gz')
    await backupDatabase({ url: other.ownerUrl, file })
    const lines = gunzipSync(await readFile(file))
      .toString()
      .split('\n')
    const without = lines.filter((line) => !line.includes('"kind":"sum"') && !line.includes('"kind":"rows"'))
    await writeFile(file, gzipSync(without.join('\n')))
    await expect(restoreDatabase({ url: other.ownerUrl, file })).rejects.toThrow(
      /lacks the sums of the tables/,
    )
  })

  it('waits for a locked table as long as it is told', async () => {
    const holder = new Client({ connectionString: other.adminUrl })
    await holder.connect()
    try {
      await holder.query('begin; lock table notes in access exclusive mode')
      await expect(
        backupDatabase({ url: other.ownerUrl, file: join(folder, 'wait.gz'), lockTimeout: 20 }),
      ).rejects.toMatchObject({ code: 'ERR_RLS_TIMEOUT' })
    } finally {
      await holder.end()
    }
  })

  it('tells a file that is not there, and a lock, apart from a backup that is damaged', async () => {
    await expect(
      restoreDatabase({ url: other.ownerUrl, file: join(folder, 'missing.gz') }),
    ).rejects.toMatchObject({ code: 'ENOENT' })
    const file = join(folder, 'locked.gz')
    await backupDatabase({ url: other.ownerUrl, file })
    const holder = new Client({ connectionString: other.adminUrl })
    await holder.connect()
    await other.asAdmin(`alter role ${other.roles.owner} set lock_timeout = '50ms'`)
    await holder.query('begin; lock table notes in access share mode')
    await expect(restoreDatabase({ url: other.ownerUrl, file })).rejects.toMatchObject({
      code: 'ERR_RLS_TIMEOUT',
    })
    await holder.end()
    await other.asAdmin(`alter role ${other.roles.owner} reset all`)
  })
})
