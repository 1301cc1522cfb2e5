import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMigrator, formatMigrationStatus, waitForMigrations } from '../../src/migrations.ts'
import { createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

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

  it('rolls everything back when one fails, and names it', async () => {
    await writeFile(join(folder, '0003_bad.sql'), 'create table fine (id int); select nonsense;')
    await expect(migrator().up()).rejects.toMatchObject({
      code: 'ERR_RLS_MIGRATION_FAILED',
      details: { migration: '0003_bad' },
    })
    expect(await tables()).toEqual(['notes'])
  })

  it('refuses to go down where there is no way', async () => {
    await writeFile(join(folder, '0003_oneway.sql'), 'select 1;')
    await migrator().up()
    await expect(migrator().down()).rejects.toThrow(/0003_oneway failed: It has no way down/)
    await expect(migrator().down(0)).rejects.toThrow(TypeError)
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

describe('waitForMigrations', () => {
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
