import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { silentLogger } from '@quintet/core'
import { Kysely, PostgresDialect } from 'kysely'
import { Client, Pool } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  checkMigrations,
  createMigrator,
  currentRoles,
  formatMigrationFindings,
  formatMigrationStatus,
  waitForMigrations,
} from '../../src/migrations.ts'
import { createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

const kysely = pathToFileURL(createRequire(import.meta.url).resolve('kysely')).href

let fixture: TwoTenants
let folder: string

beforeEach(async () => {
  fixture = await createTwoTenants()
  folder = await mkdtemp(join(tmpdir(), 'quintet-migrations-'))
  await writeFile(
    join(folder, '0001_books.sql'),
    'create table books (id int primary key);\ncreate table pages (id int);\n-- migrate:down\ndrop table pages; drop table books;\n',
  )
  await writeFile(
    join(folder, '0002_shelf.ts'),
    `export async function up(db) {
      await db.schema.createTable('shelf').addColumn('id', 'integer').execute()
    }
    export async function down(db) {
      await db.schema.dropTable('shelf').execute()
    }\n`,
  )
})
afterEach(async () => {
  await fixture.drop()
  await rm(folder, { recursive: true })
})

const migrator = () => createMigrator({ ownerUrl: fixture.ownerUrl, folder })
const tables = async (): Promise<string[]> =>
  (
    await fixture.asAdmin<{ name: string }>(
      "select tablename as name from pg_tables where schemaname = 'public' order by 1",
    )
  ).map(({ name }) => name)

describe('createMigrator', () => {
  it('runs what is pending, once, and takes it back step by step', async () => {
    expect(await migrator().up()).toEqual(['0001_books', '0002_shelf'])
    expect(await tables()).toEqual(['books', 'notes', 'pages', 'shelf'])
    expect(await migrator().up()).toEqual([])
    expect(await migrator().down()).toEqual(['0002_shelf'])
    expect(await tables()).toEqual(['books', 'notes', 'pages'])
    expect(await migrator().up()).toEqual(['0002_shelf'])
    expect(await migrator().down(5)).toEqual(['0002_shelf', '0001_books'])
    expect(await tables()).toEqual(['notes'])
  })

  it('runs each migration once when many instances start on an empty database', async () => {
    const done = await Promise.all(Array.from({ length: 6 }, () => migrator().up()))
    expect(done.flat().toSorted()).toEqual(['0001_books', '0002_shelf'])
  })

  it('tells what has run', async () => {
    expect((await migrator().status()).map(({ state }) => state)).toEqual(['pending', 'pending'])
    await migrator().up()
    await rm(join(folder, '0002_shelf.ts'))
    const status = await migrator().status()
    expect(status.map(({ name, state }) => `${name} ${state}`)).toEqual([
      '0001_books applied',
      '0002_shelf missing',
    ])
    expect(formatMigrationStatus(status)).toMatch(/^0001_books {2}applied {2}\d{4}-/)
    expect(formatMigrationStatus([])).toBe('There are no migrations.')
  })

  it('refuses a migration that was changed after it had run', async () => {
    await migrator().up()
    await writeFile(join(folder, '0001_books.sql'), 'create table other (id int);')
    await writeFile(join(folder, '0003_more.sql'), 'create table more (id int);')
    await expect(migrator().up()).rejects.toMatchObject({
      code: 'ERR_RLS_MIGRATION_CHANGED',
      details: { changed: ['0001_books'] },
    })
    expect(await tables()).not.toContain('more')
    expect((await migrator().status())[0]?.state).toBe('changed')
  })

  it('rolls back the one that fails, names it, and keeps those before it', async () => {
    await writeFile(join(folder, '0003_bad.sql'), 'create table fine (id int); select nonsense;')
    await expect(migrator().up()).rejects.toMatchObject({
      code: 'ERR_RLS_MIGRATION_FAILED',
      details: { migration: '0003_bad' },
    })
    expect(await tables()).toEqual(['books', 'notes', 'pages', 'shelf'])
    await writeFile(join(folder, '0003_bad.sql'), 'create table fine (id int);')
    expect(await migrator().up()).toEqual(['0003_bad'])
  })

  it('tells its state without writing anything, not even its own schema', async () => {
    await migrator().status()
    expect(await fixture.asAdmin("select 1 from pg_namespace where nspname = 'quintet'")).toEqual([])
  })

  it('uses a value of an enum that another pending migration adds', async () => {
    await writeFile(join(folder, '0003_mood.sql'), "create type mood as enum ('glad');")
    await writeFile(join(folder, '0004_add.sql'), "alter type mood add value 'sad';")
    await writeFile(join(folder, '0005_use.sql'), "create table moods (mood mood default 'sad');")
    expect(await migrator().up()).toHaveLength(5)
  })

  it('runs statements one by one outside of a transaction', async () => {
    await writeFile(
      join(folder, '0003_index.sql'),
      `-- migrate:no-transaction
create index concurrently by_id on books (id);
do $$ begin perform 1; end $$; -- a ; in a comment
comment on index by_id is 'a ; in a text';
-- migrate:down
drop index concurrently by_id;
`,
    )
    await writeFile(
      join(folder, '0004_module.ts'),
      `import { sql } from '${kysely}'
export const noTransaction = true
export async function up(db) { await sql\`create index concurrently by_page on pages (id)\`.execute(db) }
`,
    )
    await Promise.all([migrator().up(), migrator().up(), migrator().up()])
    await rm(join(folder, '0004_module.ts'))
    expect(await migrator().repair()).toEqual(['0004_module'])
    expect(await migrator().down()).toEqual(['0003_index'])
  })

  it.each(['commit', 'BEGIN', '/* x */ rollback', 'end', 'start transaction', 'abort'])(
    'refuses %s in a file before anything of it runs',
    async (word) => {
      await writeFile(join(folder, '0003_ends.sql'), `create table one (id int);\n${word};\nselect 1/0;`)
      await expect(migrator().up()).rejects.toThrow(/0003_ends failed: Leave out/)
      expect(await tables()).not.toContain('one')
    },
  )

  it('notices a module that ends its transaction', async () => {
    await writeFile(
      join(folder, '0003_ends.ts'),
      `import { sql } from '${kysely}'
export async function up(db) { await sql\`commit\`.execute(db) }
`,
    )
    await expect(migrator().up()).rejects.toThrow(/0003_ends failed: It ended its transaction/)
  })

  it('tells whom it waits for, and goes on once that one is gone', async () => {
    await migrator().up()
    const holder = new Client({ connectionString: fixture.ownerUrl, application_name: 'another deployment' })
    await holder.connect()
    await holder.query('select pg_advisory_lock(6051432110874520579)')
    const { promise: told, resolve } = Promise.withResolvers<unknown>()
    const warn = (fields: unknown, message?: string): void => void (message && resolve([fields, message]))
    const logger = { ...silentLogger, warn } as typeof silentLogger
    const waiting = createMigrator({ ownerUrl: fixture.ownerUrl, folder, logger }).up()
    expect(await told).toEqual([
      expect.objectContaining({ application: 'another deployment', pid: expect.any(Number) as number }),
      'waiting for another migrator',
    ])
    await holder.end()
    await waiting
  })

  it('gives a lock up and tries again, as often as it is told', async () => {
    await migrator().up()
    await writeFile(join(folder, '0003_alter.sql'), 'alter table books add column more int;')
    const holder = new Client({ connectionString: fixture.ownerUrl })
    await holder.connect()
    try {
      await holder.query('begin; lock table books in access share mode')
      const impatient = createMigrator({
        ownerUrl: fixture.ownerUrl,
        folder,
        lockTimeout: 20,
        lockAttempts: 2,
      })
      await expect(impatient.up()).rejects.toMatchObject({
        code: 'ERR_RLS_MIGRATION_FAILED',
        cause: { code: '55P03' },
      })
      let tries = 0
      const logger = { ...silentLogger, warn: () => void (++tries === 2 && void holder.query('commit')) }
      const patient = createMigrator({ ownerUrl: fixture.ownerUrl, folder, lockTimeout: 20, logger })
      expect(await patient.up()).toEqual(['0003_alter'])
      expect(tries).toBeGreaterThanOrEqual(2)
    } finally {
      await holder.end()
    }
    expect(() => createMigrator({ ownerUrl: 'x', folder, lockAttempts: 0 })).toThrow(/lockAttempts/)
    expect(() => createMigrator({ ownerUrl: 'x', folder, lockTimeout: 'soon' as never })).toThrow(
      /lockTimeout/,
    )
  })

  it('refuses one that comes too late, or whose file is gone, until it is repaired', async () => {
    await migrator().up()
    await writeFile(join(folder, '0001_late.sql'), 'select 1;')
    await expect(migrator().up()).rejects.toMatchObject({
      code: 'ERR_RLS_MIGRATION_ORDER',
      details: { late: ['0001_late'], last: '0002_shelf' },
    })
    await rm(join(folder, '0001_late.sql'))
    await rm(join(folder, '0001_books.sql'))
    await expect(migrator().up()).rejects.toMatchObject({
      code: 'ERR_RLS_MIGRATION_CHANGED',
      details: { missing: ['0001_books'] },
    })
    await writeFile(join(folder, '0002_shelf.ts'), 'export async function up() {}\n')
    expect(await migrator().repair()).toEqual(['0002_shelf', '0001_books'])
    expect(await migrator().up()).toEqual([])
    expect((await migrator().status()).map(({ name, state }) => `${name} ${state}`)).toEqual([
      '0002_shelf applied',
    ])
  })

  it('goes down only while no app is connected, unless it is forced', async () => {
    await migrator().up()
    const app = new Client({ connectionString: fixture.url })
    await app.connect()
    try {
      await expect(migrator().down()).rejects.toMatchObject({
        code: 'ERR_RLS_DATABASE_IN_USE',
        details: { logins: [fixture.roles.login] },
      })
      expect(await migrator().down(1, { force: true })).toEqual(['0002_shelf'])
    } finally {
      await app.end()
    }
  })

  it('refuses to go down where there is no way', async () => {
    await writeFile(join(folder, '0003_oneway.sql'), 'select 1;')
    await migrator().up()
    await expect(migrator().down()).rejects.toThrow(/0003_oneway failed: It has no way down/)
    await expect(migrator().down(0)).rejects.toThrow(TypeError)
  })

  it('counts what a module imports to its content', async () => {
    await mkdir(join(folder, 'parts'))
    await writeFile(
      join(folder, 'parts/table.ts'),
      `import { name } from './name.ts'\nexport const text = 'create table ' + name\n`,
    )
    await writeFile(join(folder, 'parts/name.ts'), `export const name = 'imported (id int)'\n`)
    await writeFile(join(folder, 'parts/types.ts'), 'export interface Row {}\n')
    await writeFile(
      join(folder, '0003_parts.ts'),
      `import { sql } from '${kysely}'
import type { Row } from './parts/types.ts'
import {
  text,
} from "./parts/table.ts"
export async function up(db) { await sql.raw(text).execute(db) }
`,
    )
    await migrator().up()
    await writeFile(join(folder, 'parts/types.ts'), 'export interface Row { id: number }\n')
    expect(await migrator().up()).toEqual([])
    await writeFile(join(folder, 'parts/name.ts'), `export const name = 'another (id int)'\n`)
    await expect(migrator().up()).rejects.toMatchObject({
      code: 'ERR_RLS_MIGRATION_CHANGED',
      details: { changed: ['0003_parts'] },
    })
  })

  it('runs each as it would run alone, whatever those before it have set', async () => {
    await writeFile(
      join(folder, '0003_dump.sql'),
      "select pg_catalog.set_config('search_path', '', false); set standard_conforming_strings = off; create temp table rest (id int); prepare seed as select 1;",
    )
    await writeFile(
      join(folder, '0004_next.sql'),
      '\uFEFFprepare seed as select 2; create table next (id int);',
    )
    await writeFile(
      join(folder, '0005_check.sql'),
      `do $$ begin if to_regclass('pg_temp.rest') is not null then raise 'left'; end if; end $$;`,
    )
    expect(await migrator().up()).toHaveLength(5)
    expect(await tables()).toContain('next')
  })

  it('writes an empty migration with the time in its name', async () => {
    const path = await migrator().new('Add the Index!', { language: 'sql' })
    expect(path).toMatch(/\d{8}T\d{6}_add_the_index\.sql$/)
    expect(await readFile(path, 'utf8')).toContain('-- migrate:down')
    expect(await readFile(await migrator().new('next'), 'utf8')).toContain('export async function up')
    await expect(migrator().new('!')).rejects.toThrow(TypeError)
    expect(await migrator().up()).toHaveLength(4)
  })

  it('refuses options it does not know and modules that are no migration', async () => {
    expect(() => createMigrator({ ownerUrl: 'x', folder, lock: 1 } as never)).toThrow(/unknown key "lock"/)
    expect(() => createMigrator({ ownerUrl: '', folder })).toThrow(/ownerUrl/)
    await writeFile(join(folder, '0003_empty.ts'), 'export const nothing = 1\n')
    await expect(migrator().up()).rejects.toThrow(/exports no function up/)
  })
})

it('names the roles of the database that it runs in', async () => {
  await using db = new Kysely<unknown>({
    dialect: new PostgresDialect({ pool: new Pool({ connectionString: fixture.ownerUrl }) }),
  })
  expect(await currentRoles(db)).toEqual(fixture.roles)
})

describe('a connection that is cut when it is idle', () => {
  beforeEach(() => fixture.asAdmin(`alter role ${fixture.roles.owner} set idle_session_timeout = '300ms'`))

  it('ends no migration, however long it takes', async () => {
    await writeFile(join(folder, '0003_long.sql'), 'select pg_sleep(1)')
    expect(await migrator().up()).toHaveLength(3)
  })

  it('lets no migration run twice', async () => {
    await writeFile(
      join(folder, '0003_once.sql'),
      `-- migrate:no-transaction
       create table if not exists runs (at timestamptz);
       insert into runs values (clock_timestamp());
       select pg_sleep(1);`,
    )
    await Promise.all([migrator().up(), migrator().up(), migrator().up()])
    expect(await fixture.asAdmin('select count(*)::int as runs from runs')).toEqual([{ runs: 1 }])
  })
})

describe('waitForMigrations', () => {
  it('keeps its time and heeds its signal before a server that does not answer', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const url = `postgres://x@127.0.0.1:${port}/x`
    await expect(waitForMigrations({ url, folder, timeout: 200 })).rejects.toMatchObject({
      code: 'ERR_RLS_MIGRATIONS_PENDING',
    })
    const gone = new AbortController()
    const waiting = waitForMigrations({ url, folder, signal: gone.signal })
    await once(silent, 'connection')
    gone.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    silent.close()
  })

  it('resolves when the last migration of the folder has run', async () => {
    const waiting = waitForMigrations({ url: fixture.url, folder, timeout: '20s' })
    await migrator().up()
    await waiting
    await fixture.asAdmin("insert into quintet.migration values ('9999_newer', now()::text)")
    await waitForMigrations({ url: fixture.url, folder, timeout: 0 })
  })

  it('fails after its time, at once for a changed migration, and when it is given up', async () => {
    await expect(waitForMigrations({ url: fixture.url, folder, timeout: 50 })).rejects.toMatchObject({
      code: 'ERR_RLS_MIGRATIONS_PENDING',
      details: { pending: ['0001_books', '0002_shelf'] },
    })
    await expect(
      waitForMigrations({ url: 'postgres://x@127.0.0.1:1/x', folder, timeout: 50 }),
    ).rejects.toMatchObject({ code: 'ERR_RLS_MIGRATIONS_PENDING' })
    await expect(
      waitForMigrations({ url: fixture.url, folder, signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toThrow('enough')
    await migrator().up()
    await writeFile(join(folder, '0001_books.sql'), 'select 2;')
    await expect(waitForMigrations({ url: fixture.url, folder })).rejects.toMatchObject({
      code: 'ERR_RLS_MIGRATION_CHANGED',
    })
  })
})

describe('checkMigrations', () => {
  it('finds what blocks, in SQL and in modules, and leaves out what is allowed', async () => {
    await writeFile(
      join(folder, '0003_index.sql'),
      'create table own (id int); create index on own (id); create index by_id on books (id);',
    )
    await writeFile(
      join(folder, '0004_module.ts'),
      `import { sql } from '${kysely}'
export async function up(db) { await db.schema.alterTable('pages').alterColumn('id', (c) => c.setNotNull()).execute() }
`,
    )
    await writeFile(join(folder, '0005_known.sql'), '-- migrate:allow-blocking\nlock table books;')
    const options = { adminUrl: fixture.adminUrl, folder }
    const findings = await checkMigrations(options)
    expect(findings).toMatchObject([
      { migration: '0003_index', table: 'books', rule: 'blocking-index' },
      { migration: '0004_module', table: '"pages"', rule: 'blocking-not-null' },
    ])
    expect(formatMigrationFindings(findings)).toMatch(/^0003_index: books: builds an index/)
    expect(await checkMigrations({ ...options, names: ['0001_books'] })).toEqual([])
    expect(formatMigrationFindings([])).toBe('Nothing blocks.')
    expect(
      await fixture.asAdmin(`select 1 from pg_roles where rolname like 'quintet_verify_${process.pid}_%'`),
    ).toEqual([])
  })
})
