import { randomUUID } from 'node:crypto'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { openAppDatabase, startApp } from '@quintet/example-platform/testing'
import { postgresUrl } from '@quintet/test-kit'
import { expect, it } from 'vitest'
import media from '../src/bootstrap.ts'

const source = resolve(import.meta.dirname, '../src')

it('lets a tenant keep no more than its quota, however the bytes come', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'quintet-media-'))
  await using database = await openAppDatabase(postgresUrl(), resolve(source, 'migrations'))
  await using app = await startApp(media, {
    baseUrl: source,
    process: 'http',
    database,
    env: { MEDIA_DIRECTORY: directory.path, MEDIA_QUOTA__BYTES: '20', MEDIA_QUOTA__OBJECTS: '3' },
  })
  const memberOf = (tenantId: string): Promise<{ readonly authorization: string }> =>
    app.identity.signIn({ tenantId, userId: randomUUID() })
  const send = async (headers: object, body: string | ReadableStream): Promise<number> => {
    const init = { method: 'POST', body, duplex: 'half', headers }
    return (await fetch(`${app.url()}/objects?name=a`, init as RequestInit)).status
  }
  const chunked = (text: string): ReadableStream => new Blob([text]).stream()
  const tenantId = randomUUID()
  const owner = await memberOf(tenantId)
  const statuses = await Promise.all(Array.from({ length: 4 }, () => send(owner, 'x'.repeat(8))))
  expect(statuses.toSorted()).toEqual([201, 201, 413, 413])
  expect(await send(owner, chunked('12345'))).toBe(413)
  expect(await send(owner, chunked('1234'))).toBe(201)
  expect(await send(owner, 'x')).toBe(413)
  expect(await send(await memberOf(randomUUID()), 'x')).toBe(201)
  const { rows } = await database.systemPool.query('select objects, bytes from usage where tenant_id = $1', [
    tenantId,
  ])
  expect(rows).toEqual([{ objects: '3', bytes: '20' }])
})
