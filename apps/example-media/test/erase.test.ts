import { randomUUID } from 'node:crypto'
import { access, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { exportParts } from '@quintet/example-platform/events'
import { openAppDatabase, requestExport, startApp, tellRemoval } from '@quintet/example-platform/testing'
import { uuidv7 } from '@quintet/core'
import { postgresUrl, until } from '@quintet/test-kit'
import { expect, it } from 'vitest'
import media from '../src/bootstrap.ts'
import { createObjectFiles } from '../src/object-files.ts'

const source = resolve(import.meta.dirname, '../src')

it('erases the objects of who is removed, with their files, and those of no one else', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'quintet-erase-'))
  await using database = await openAppDatabase(postgresUrl(), resolve(source, 'migrations'))
  await using app = await startApp(media, {
    baseUrl: source,
    process: 'thumbnails',
    database,
    env: { MEDIA_DIRECTORY: directory },
  })
  const files = createObjectFiles(directory)
  const [tenant, other] = [randomUUID(), randomUUID()]
  const [ada, alan] = [randomUUID(), randomUUID()]
  const store = async (tenantId: string, ownerId: string): Promise<string> => {
    const id = uuidv7()
    await files.store(
      tenantId,
      id,
      (async function* () {
        yield Buffer.from('x')
      })(),
      AbortSignal.timeout(10_000),
    )
    await database.systemPool.query(
      `insert into objects (id, tenant_id, owner_id, name, content_type, size, sha256) values ($1, $2, $3, 'a', 'text/plain', 1, '')`,
      [id, tenantId, ownerId],
    )
    return id
  }
  const [hers, his, theirs] = [await store(tenant, ada), await store(tenant, alan), await store(other, ada)]
  const left = async (): Promise<readonly string[]> => {
    const { rows } = await database.systemPool.query<{ id: string }>('select id from objects order by id')
    return rows.map(({ id }) => id)
  }
  const hasFile = (tenantId: string, id: string): Promise<boolean> =>
    access(files.pathOf(tenantId, id)).then(
      () => true,
      () => false,
    )

  await requestExport(app.jobs, 'media', { tenantId: tenant, userId: ada })
  const parts = (): Promise<readonly { readonly data: unknown }[]> =>
    app.jobs.bull(exportParts).getJobs(['prioritized'])
  await until(async () => (await parts()).length === 1)
  const rows = (await parts()).flatMap(
    ({ data }) => (data as { payload: { rows: { id: string }[] } }).payload.rows,
  )
  expect(rows.map(({ id }) => id)).toEqual([hers])

  await tellRemoval(app.jobs, 'media', { tenantId: tenant, userId: ada })
  await until(async () => (await left()).length === 2)
  expect([await hasFile(tenant, hers), await hasFile(tenant, his), await hasFile(other, theirs)]).toEqual([
    false,
    true,
    true,
  ])
  await tellRemoval(app.jobs, 'media', { tenantId: tenant })
  await until(async () => (await left()).length === 1)
  expect([await hasFile(tenant, his), await left()]).toEqual([false, [theirs]])
  await app[Symbol.asyncDispose]()
  await rm(directory, { recursive: true, force: true })
})
