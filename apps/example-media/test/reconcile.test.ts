import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { uuidv7 } from '@quintet/core'
import { openAppDatabase } from '@quintet/example-platform/testing'
import { postgresUrl } from '@quintet/test-kit'
import { Kysely, PostgresDialect } from 'kysely'
import { expect, it } from 'vitest'
import { createObjectFiles } from '../src/object-files.ts'
import { reconcileObjects } from '../src/reconcile.ts'
import type { MediaTables } from '../src/schema.ts'

it('leaves no file without a row and no row of a removed object, whenever a process died', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'quintet-reconcile-'))
  await using database = await openAppDatabase(
    postgresUrl(),
    resolve(import.meta.dirname, '../src/migrations'),
  )
  const db = new Kysely<MediaTables>({ dialect: new PostgresDialect({ pool: database.pool }) })
  const files = createObjectFiles(directory)
  const tenantId = randomUUID()
  /** What there is of an object at the moment of a crash. */
  const leave = async (status: string, age: string, file: 'none' | 'part' | 'whole'): Promise<string> => {
    const id = uuidv7()
    await database.systemPool.query(
      `insert into objects (id, tenant_id, owner_id, name, content_type, size, sha256, status, created_at, touched_at)
       values ($1, $2, $3, 'a', 'text/plain', 1, '', $4, now() - interval '1 day', now() - $5::interval)`,
      [id, tenantId, randomUUID(), status, age],
    )
    const path = files.pathOf(tenantId, id)
    await mkdir(dirname(path), { recursive: true })
    if (file !== 'none') await writeFile(file === 'part' ? `${path}.part` : path, 'x')
    return id
  }
  const ready = await leave('ready', '2 days', 'whole')
  const running = await leave('pending', '5 minutes', 'part')
  for (const file of ['none', 'part', 'whole'] as const) {
    await leave('pending', '15 minutes', file)
    await leave('removed', '0', file)
  }
  expect(await reconcileObjects(db, files)).toBe(6)
  expect(await reconcileObjects(db, files)).toBe(0)
  const { rows } = await database.systemPool.query<{ id: string }>('select id from objects order by id')
  expect(rows.map(({ id }) => id)).toEqual([ready, running])
  expect((await readdir(join(directory, tenantId))).toSorted()).toEqual([ready, `${running}.part`])
  await rm(directory, { recursive: true, force: true })
})
