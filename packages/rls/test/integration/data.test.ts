import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { runWithRlsContext } from '../../src/index.ts'
import {
  advisoryLockKey,
  backupDatabase,
  createSingletonJob,
  restoreDatabase,
  updateVersioned,
  verifyBackup,
  withAdvisoryLock,
} from '../../src/data.ts'
import { createMigrator } from '../../src/migrations.ts'
import { contextA, contextB, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
})
afterAll(() => fixture.drop())

const killHolder = async (name: string): Promise<void> => {
  await fixture.asAdmin(
    `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'
     and (classid::bigint << 32 | objid::bigint) = $1::bigint`,
    [advisoryLockKey(name)],
  )
}

describe('withAdvisoryLock', () => {
  it('lets one in at a time, and returns what the function returns', async () => {
    const pool = fixture.pgPool({ max: 8 })
    let inside = 0
    const results = await Promise.all(
      Array.from({ length: 5 }, (_, index) =>
        withAdvisoryLock(pool, 'one', async () => {
          expect(++inside).toBe(1)
          await new Promise((resolve) => setImmediate(resolve))
          inside--
          return index
        }),
      ),
    )
    expect(results).toEqual([0, 1, 2, 3, 4])
  })

  it('gives up after its time, and when told to', async () => {
    const pool = fixture.pgPool()
    await withAdvisoryLock(pool, 'held', async () => {
      await expect(withAdvisoryLock(pool, 'held', async () => 1, { timeout: 0 })).rejects.toMatchObject({
        code: 'ERR_RLS_LOCK_TIMEOUT',
      })
      const stop = new AbortController()
      const waiting = withAdvisoryLock(pool, 'held', async () => 1, { signal: stop.signal })
      stop.abort(new Error('enough'))
      await expect(waiting).rejects.toThrow('enough')
    })
    expect(await withAdvisoryLock(pool, 'held', async () => 'free', { timeout: 0 })).toBe('free')
  })

  it('gives up within its time while the pool is exhausted, and gives a late connection back', async () => {
    const pool = fixture.pgPool({ max: 1 })
    const held = await pool.connect()
    await expect(withAdvisoryLock(pool, 'busy', async () => 1, { timeout: 1_000 })).rejects.toMatchObject({
      code: 'ERR_RLS_DATABASE_UNAVAILABLE',
    })
    const stop = new AbortController()
    const waiting = withAdvisoryLock(pool, 'busy', async () => 1, { signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    held.release()
    await vi.waitFor(() => expect(pool.idleCount).toBe(1))
    expect(await withAdvisoryLock(pool, 'busy', async () => 'free')).toBe('free')
  })

  it('aborts the function when the connection is lost', async () => {
    const pool = fixture.pgPool()
    await expect(
      withAdvisoryLock(pool, 'lost', async (signal) => {
        await killHolder('lost')
        await until(() => signal.aborted)
      }),
    ).rejects.toMatchObject({ code: 'ERR_RLS_LOCK_LOST', kind: 'unavailable' })
    expect(await withAdvisoryLock(pool, 'lost', async () => 'again')).toBe('again')
  })
})

describe('the connections that locks cost', () => {
  it('is one, however many are held and waited for', async () => {
    const pool = fixture.pgPool({ max: 2, connectionTimeoutMillis: 2_000 })
    const ask = async (): Promise<number> => {
      const { rows } = await pool.query<{ one: number }>('select 1 as one')
      expect(pool.totalCount).toBeLessThanOrEqual(2)
      return rows[0]?.one ?? 0
    }
    const names = ['report', 'report', 'report', 'sweep', 'index', 'mail', 'mail']
    expect(await Promise.all(names.map((name) => withAdvisoryLock(pool, name, ask)))).toEqual(
      names.map(() => 1),
    )
    expect(pool.idleCount).toBe(pool.totalCount)
  })

  it('leaves jobs that lead the rest of their pool', async () => {
    const pool = fixture.pgPool({ max: 2, connectionTimeoutMillis: 2_000 })
    const done = new Set<string>()
    const jobs = ['a', 'b', 'c', 'd'].map((name) =>
      createSingletonJob({
        pool,
        name,
        async run(signal) {
          await pool.query('select 1')
          done.add(name)
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
        },
      }),
    )
    await until(() => done.size === 4)
    expect(jobs.every(({ leading }) => leading)).toBe(true)
    await Promise.all(jobs.map((job) => job.close()))
    expect(pool.idleCount).toBe(pool.totalCount)
  })

  it('lets go of one lock alone', async () => {
    const pool = fixture.pgPool()
    const elsewhere = fixture.pgPool()
    const asked = (name: string) => withAdvisoryLock(elsewhere, name, async () => 'free', { timeout: 0 })
    await withAdvisoryLock(pool, 'outer', async () => {
      await withAdvisoryLock(pool, 'inner', async () => {
        await expect(asked('inner')).rejects.toMatchObject({ code: 'ERR_RLS_LOCK_TIMEOUT' })
      })
      expect(await asked('inner')).toBe('free')
      await expect(asked('outer')).rejects.toMatchObject({ code: 'ERR_RLS_LOCK_TIMEOUT' })
    })
    expect(await asked('outer')).toBe('free')
  })

  it('loses them all with their connection', async () => {
    const pool = fixture.pgPool()
    const hold = (name: string) =>
      withAdvisoryLock(pool, name, async (signal) => {
        if (name === 'second') await killHolder('first')
        await until(() => signal.aborted)
      })
    const results = await Promise.allSettled([hold('first'), hold('second')])
    for (const result of results) expect(result).toMatchObject({ reason: { code: 'ERR_RLS_LOCK_LOST' } })
    expect(await withAdvisoryLock(pool, 'first', async () => 'again')).toBe('again')
  })

  it('takes no pool with a context', async () => {
    await expect(withAdvisoryLock(fixture.pool(), 'tenant', async () => 1)).rejects.toThrow(
      'withAdvisoryLock: a lock belongs to no tenant. Give a pool of pg, e.g. systemPool.',
    )
  })
})

describe('createSingletonJob', () => {
  it('runs on one instance, and on the next when that one loses its connection', async () => {
    const pool = fixture.pgPool({ max: 8 })
    let running = 0
    let most = 0
    const jobs = Array.from({ length: 3 }, () =>
      createSingletonJob({
        pool,
        name: 'sweep',
        retryAfter: 10,
        run: async (signal) => {
          most = Math.max(most, ++running)
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          running--
        },
      }),
    )
    const leaders = () => jobs.filter(({ leading }) => leading)
    const first = await until(() => leaders()[0])
    await killHolder('job sweep')
    await until(() => !first.leading || leaders().length === 1)
    await until(() => leaders()[0])
    expect(most).toBe(1)
    await Promise.all(jobs.map((job) => job.close()))
    expect(running).toBe(0)
  })

  it('takes a failed job up again', async () => {
    let runs = 0
    await using _job = createSingletonJob({
      pool: fixture.pgPool(),
      name: 'flaky',
      retryAfter: 1,
      run: async () => {
        if (++runs < 3) throw new Error('again')
      },
    })
    await until(() => runs >= 3)
  })
})

describe('updateVersioned', () => {
  it('changes a row that is as it was seen, and conflicts otherwise', async () => {
    await fixture.asOwner('alter table notes add column version int not null default 1')
    const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: fixture.pool() }) })
    const change = (version: number, title = 'a1') =>
      updateVersioned<{ version: number; size: number }>(db, {
        table: 'notes',
        key: { title },
        version,
        set: { size: 7 },
      })
    await runWithRlsContext(contextA, async () => {
      expect(await change(1)).toMatchObject({ version: 2, size: 7 })
      await expect(change(1)).rejects.toMatchObject({ code: 'ERR_RLS_VERSION_CONFLICT', kind: 'conflict' })
      await expect(change(1, 'b1')).rejects.toMatchObject({ code: 'ERR_RLS_VERSION_CONFLICT' })
      await expect(updateVersioned(db, { table: 'notes', key: {}, version: 1, set: {} })).rejects.toThrow(
        TypeError,
      )
      const optional: { readonly size?: number } = {}
      const untouched = { table: 'notes', key: { title: 'a1' }, version: 2, set: { size: optional.size } }
      expect(await updateVersioned(db, untouched)).toMatchObject({ version: 3, size: 7 })
      await expect(
        updateVersioned(db, { table: 'notes', key: { title: undefined }, version: 3, set: {} }),
      ).rejects.toThrow('updateVersioned.key.title')
      const both = await Promise.allSettled([change(3), change(3)])
      expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
      await expect(
        updateVersioned(db, { table: 'notes', key: { version: 1 }, version: 1, set: { size: 9 } }),
      ).resolves.toMatchObject({ title: 'a2' })
      await sql`update notes set version = 1`.execute(db)
      await expect(
        updateVersioned(db, { table: 'notes', key: { version: 1 }, version: 1, set: { size: 8 } }),
      ).rejects.toMatchObject({ code: '21000' })
      expect((await sql`select from notes where size = 8`.execute(db)).rows).toEqual([])
    })
    await db.destroy()
    await fixture.asOwner('alter table notes drop column version')
  })
})

describe('backupDatabase', () => {
  let folder: string
  let file: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'quintet-backup-'))
    file = join(folder, 'notes.backup.gz')
    const { tenant, system, owner } = fixture.roles
    await writeFile(
      join(folder, '0001_all.sql'),
      `create table if not exists notes (id int generated always as identity, tenant_id uuid not null, title text not null,
         size int not null default 0, primary key (tenant_id, id), unique (tenant_id, title));
       create table tree (id int primary key, parent int references tree (id), data jsonb, raw bytea, price numeric, at timestamptz,
         tags text[], "Odd Name" float8, twice int generated always as (id * 2) stored);
       create table told (n int);
       create function tell() returns trigger language plpgsql as $$ begin insert into told values (1); return new; end $$;
       create trigger tell after insert on tree for each row execute function tell();
       alter table tree enable row level security; alter table tree force row level security;
       create policy s on tree to ${system}, ${owner} using (true);
       grant select on tree to ${tenant};`,
    )
    await createMigrator({ ownerUrl: fixture.ownerUrl, folder }).up()
    await fixture.asOwner(
      `insert into tree values (2, null, 'null', '\\x00ff', 1e-20, 'infinity', '{a,"b,c",null}', 'NaN'), (1, 2, '{"a": 1.10}', null, 12345678901234567890.5, '2026-01-01 00:00:00.123456+02', null, 0.1)`,
    )
  })
  afterAll(() => rm(folder, { recursive: true }))

  const content = () =>
    fixture.asAdmin<{ all: string }>(
      `select (select json_agg(t::text order by id) from tree t)::text || (select json_agg(n::text order by tenant_id, id) from notes n)::text as all`,
    )

  it('saves every row, and restore brings each back as it was', async () => {
    const before = await content()
    const report = await backupDatabase({ url: fixture.ownerUrl, file })
    expect(report.tables).toEqual(
      expect.arrayContaining([
        { table: 'public.tree', rows: 2 },
        { table: 'public.notes', rows: 4 },
      ]),
    )
    await fixture.asOwner(
      'delete from notes',
      'update tree set parent = null',
      'insert into tree (id) values (9)',
    )
    await restoreDatabase({ url: fixture.ownerUrl, file })
    expect(await content()).toEqual(before)
    expect(await fixture.asAdmin('select count(*)::int as n from told')).toEqual([{ n: 2 }])
    await fixture.asOwner('insert into tree (id) values (9)', 'delete from tree where id = 9')
    expect(await fixture.asAdmin('select count(*)::int as n from told')).toEqual([{ n: 3 }])
    await fixture.asOwner(
      `insert into notes (tenant_id, title) values ('${contextB.tenantId}', 'after')`,
      `delete from notes where title = 'after'`,
    )
  })

  it('is proven in a database of its own', async () => {
    await backupDatabase({ url: fixture.ownerUrl, file })
    const report = await verifyBackup({ file, adminUrl: fixture.adminUrl, folder, roles: fixture.roles })
    expect(report.tables.find(({ table }) => table === 'public.tree')?.rows).toBe(2)
    expect(
      await fixture.asAdmin(
        `select datname from pg_database where datname like 'quintet_verify_${process.pid}_%'`,
      ),
    ).toEqual([])
  })

  it('refuses damaged, foreign and shortened files, and leaves the database as it was', async () => {
    await backupDatabase({ url: fixture.ownerUrl, file })
    const before = await content()
    const lines = gunzipSync(await readFile(file))
      .toString('utf8')
      .trimEnd()
      .split('\n')
    const broken = join(folder, 'broken.gz')
    const attempt = async (bytes: Buffer): Promise<unknown> => {
      await writeFile(broken, bytes)
      return restoreDatabase({ url: fixture.ownerUrl, file: broken }).then(
        () => 'restored',
        (error: unknown) => error,
      )
    }
    const text = (changed: readonly string[]): Buffer => gzipSync(changed.join('\n'))
    for (const bytes of [
      Buffer.from('no gzip'),
      (await readFile(file)).subarray(0, 200),
      text(lines.slice(0, -1)),
      text(lines.slice(1)),
      text(lines.map((line) => line.replace('"rows":4,"sum"', '"rows":5,"sum"'))),
      text(lines.map((line) => line.replace('a1', 'zz'))),
      text(lines.map((line) => line.replace('0001_all', '0001_other'))),
    ]) {
      expect(await attempt(bytes)).toMatchObject({ code: 'ERR_RLS_BACKUP_INVALID' })
    }
    expect(await content()).toEqual(before)
  })

  it('refuses a login from whom policies hide rows', async () => {
    await expect(backupDatabase({ url: fixture.url, file: join(folder, 'x') })).rejects.toBeDefined()
    await fixture.asOwner('alter policy notes_system on notes to ' + fixture.roles.system)
    await expect(backupDatabase({ url: fixture.ownerUrl, file: join(folder, 'x') })).rejects.toMatchObject({
      code: 'ERR_RLS_BACKUP_INVALID',
      message: expect.stringContaining('public.notes'),
    })
    await backupDatabase({ url: fixture.adminUrl, file })
  })
})

describe('a backup of a database with more than plain tables', () => {
  let folder: string
  let other: TwoTenants

  beforeAll(async () => {
    other = await createTwoTenants()
    folder = await mkdtemp(join(tmpdir(), 'quintet-backup-'))
    await writeFile(
      join(folder, '0001_all.sql'),
      `create table zones (id int primary key);
       create table readings (zone int not null references zones (id), n int not null) partition by range (n);
       create table readings_low partition of readings for values from (0) to (10);
       create table readings_high partition of readings for values from (10) to (20);
       create table heard (n int);
       create function hear() returns trigger language plpgsql as $$ begin insert into heard values (1); return new; end $$;
       create trigger hear after insert on readings for each row execute function hear();
       create materialized view totals as select count(*)::int as n from readings;
       create table "dotted.name" (id int primary key, text text);
       create table wide (id int primary key, text text);`,
    )
    await createMigrator({ ownerUrl: other.ownerUrl, folder }).up()
    await other.asOwner(
      'drop table notes',
      'insert into zones values (1), (2)',
      'insert into readings values (1, 3), (2, 13)',
      `insert into "dotted.name" values (1, 'x')`,
      `insert into wide select n, repeat('x', 1000000) from generate_series(1, 20) n`,
      'refresh materialized view totals',
    )
  })
  afterAll(async () => {
    await other.drop()
    await rm(folder, { recursive: true })
  })

  it('brings partitions and what they refer to back, without their triggers, and views that follow', async () => {
    const file = join(folder, 'all.gz')
    await backupDatabase({ url: other.ownerUrl, file })
    await other.asOwner(
      'delete from readings',
      'delete from zones',
      'delete from "dotted.name"',
      'refresh materialized view totals',
    )
    await restoreDatabase({ url: other.ownerUrl, file })
    expect(
      await other.asAdmin(
        `select (select count(*)::int from readings_low) as low, (select count(*)::int from readings_high) as high,
           (select n from totals) as totals, (select text from "dotted.name") as dotted, (select count(*)::int from heard) as heard`,
      ),
    ).toEqual([{ low: 1, high: 1, totals: 2, dotted: 'x', heard: 2 }])
    await other.asOwner('insert into readings values (1, 4)', 'delete from readings where n = 4')
    expect(await other.asAdmin('select count(*)::int as n from heard')).toEqual([{ n: 3 }])
    await expect(other.asOwner('insert into readings values (9, 4)')).rejects.toMatchObject({ code: '23503' })
  })

  it('holds no more than some megabytes of rows in a line', async () => {
    const file = join(folder, 'wide.gz')
    await backupDatabase({ url: other.ownerUrl, file })
    const lines = gunzipSync(await readFile(file))
      .toString('utf8')
      .split('\n')
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(5_000_000)
  })

  it('is proven where the migrations take their roles from the name of the database', async () => {
    const file = join(folder, 'roles.gz')
    await writeFile(
      join(folder, '0002_roles.sql'),
      `do $$ begin execute format('grant select on zones to %I', current_database() || '_tenant'); end $$;`,
    )
    await createMigrator({ ownerUrl: other.ownerUrl, folder }).up()
    await backupDatabase({ url: other.ownerUrl, file })
    const report = await verifyBackup({ file, adminUrl: other.adminUrl, folder })
    expect(report.tables.find(({ table }) => table === 'public.zones')?.rows).toBe(2)
    expect(
      await other.asAdmin(
        `select rolname from pg_roles where rolname like 'quintet_verify_${process.pid}_%'`,
      ),
    ).toEqual([])
  })

  it('refuses large objects, which it cannot hold', async () => {
    await other.asAdmin('select lo_create(0)')
    await expect(
      backupDatabase({ url: other.ownerUrl, file: join(folder, 'large.gz') }),
    ).rejects.toMatchObject({
      code: 'ERR_RLS_BACKUP_INVALID',
      message: expect.stringContaining('large object'),
    })
  })
})
