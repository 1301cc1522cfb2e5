import { randomUUID } from 'node:crypto'
import { mkdtempDisposable } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { openAppDatabase, startApp } from '@quintet/example-platform/testing'
import { postgresUrl, until } from '@quintet/test-kit'
import { expect, it } from 'vitest'
import media from '../src/bootstrap.ts'

const source = resolve(import.meta.dirname, '../src')

it('takes room as bytes come: what is announced and not sent is left to the rest of the tenant', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'quintet-media-'))
  await using database = await openAppDatabase(postgresUrl(), resolve(source, 'migrations'))
  await using app = await startApp(media, {
    baseUrl: source,
    process: 'http',
    database,
    env: { MEDIA_DIRECTORY: directory.path, MEDIA_QUOTA__BYTES: '1000000' },
  })
  const tenantId = randomUUID()
  const memberOf = (): Promise<{ readonly authorization: string }> =>
    app.identity.signIn({ tenantId, userId: randomUUID() })
  const usage = async (): Promise<number> => {
    const sent = 'select bytes::int as bytes from usage where tenant_id = $1'
    const { rows } = await database.systemPool.query<{ bytes: number }>(sent, [tenantId])
    return rows[0]?.bytes ?? 0
  }
  const [greedy, honest] = [await memberOf(), await memberOf()]
  const uploads = Array.from({ length: 3 }, () => {
    const upload = request(`${app.url()}/objects?name=slow`, {
      method: 'POST',
      headers: { ...greedy, 'content-length': '900000' },
    })
    upload.on('error', () => undefined)
    upload.write('x'.repeat(5_000))
    return upload
  })
  // Of each, what has come and no more than a thousandth of the quota ahead.
  await until(async () => (await usage()) >= 15_000)
  expect(await usage()).toBeLessThanOrEqual(18_000)
  const whole = await fetch(`${app.url()}/objects?name=a`, {
    method: 'POST',
    headers: honest,
    body: 'x'.repeat(900_000),
  })
  expect(whole.status).toBe(201)
  for (const upload of uploads) upload.destroy()
  await until(async () => (await usage()) === 900_000)
}, 30_000)
