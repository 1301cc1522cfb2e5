import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import sharp from 'sharp'
import { z } from 'zod'
import { createServer, createVerifier, listen, openTenantDatabase, settings, type Caller } from './app.ts'
import { consume, publish, startRelay } from './events.ts'

interface Tables {
  objects: {
    id: string
    tenant_id: string
    owner_id: string
    name: string
    content_type: string
    size: string
    sha256: string
    image_format: string | null
    thumbnail_at: Date | null
  }
}

const inTenant = openTenantDatabase<Tables>()
const caller = createVerifier()
const app = createServer()
app.removeAllContentTypeParsers()
app.addContentTypeParser('*', (_, body, done) => done(null, body))
app.addContentTypeParser(
  'application/json',
  { parseAs: 'string' },
  app.getDefaultJsonParser('error', 'error'),
)

const pathOf = (tenantId: string, id: string, variant = 'original'): string =>
  join(settings.directory, tenantId, id, variant)
const getObject = async (who: Caller, id: string): Promise<Tables['objects']> => {
  const object = await inTenant(who, (trx) =>
    trx.selectFrom('objects').selectAll().where('id', '=', id).executeTakeFirst(),
  )
  if (object) return object
  throw Object.assign(new Error('No such object'), { statusCode: 404 })
}

app.post('/objects', { bodyLimit: 2 ** 33 }, async (request, reply) => {
  const who = await caller(request)
  const { name } = z.strictObject({ name: z.string().min(1).max(200) }).parse(request.query)
  const id = randomUUID()
  const path = pathOf(who.tenantId, id)
  const part = `${path}.part`
  await mkdir(dirname(path), { recursive: true })
  const hash = createHash('sha256')
  let size = 0
  let head: Uint8Array = Buffer.alloc(0)
  try {
    await using file = await open(part, 'wx')
    for await (const chunk of request.body as AsyncIterable<Uint8Array>) {
      hash.update(chunk)
      if (size === 0) head = chunk.subarray(0, 64)
      size += chunk.length
      await file.write(chunk)
    }
    await file.datasync()
    await rename(part, path)
    await using directory = await open(dirname(path), 'r')
    await directory.sync()
  } catch (error) {
    await rm(dirname(path), { recursive: true, force: true })
    throw error
  }
  const imageFormat = head[0] === 0xff && head[1] === 0xd8 ? 'jpeg' : null
  const object = {
    id,
    tenant_id: who.tenantId,
    owner_id: who.userId,
    name,
    content_type: request.headers['content-type'] ?? 'application/octet-stream',
    size: String(size),
    sha256: hash.digest('hex'),
    image_format: imageFormat,
  }
  await inTenant(who, async (trx) => {
    await trx
      .insertInto('objects')
      .values({ ...object, thumbnail_at: null })
      .execute()
    await publish(trx as never, who, 'media.object-stored', { objectId: id, name, size, imageFormat })
  })
  return reply.code(201).send({ id, name, size, sha256: object.sha256 })
})

app.post('/rpc/objects/list', async (request) => {
  const who = await caller(request)
  const { limit } = z.strictObject({ limit: z.int().min(1).max(100).default(50) }).parse(request.body ?? {})
  const objects = await inTenant(who, (trx) =>
    trx.selectFrom('objects').selectAll().orderBy('id', 'desc').limit(limit).execute(),
  )
  return {
    items: objects.map((each) => ({
      id: each.id,
      name: each.name,
      contentType: each.content_type,
      size: Number(each.size),
      sha256: each.sha256,
      hasThumbnail: each.thumbnail_at !== null,
    })),
  }
})

async function render(who: Caller, id: string, width: number, variant: string): Promise<string> {
  const path = pathOf(who.tenantId, id, variant)
  if (await stat(path).catch(() => undefined)) return path
  const bytes = await sharp(await readFile(pathOf(who.tenantId, id)), { limitInputPixels: 50_000_000 })
    .autoOrient()
    .resize({ width, height: 2048, fit: 'inside', withoutEnlargement: true })
    .webp({ quality: 80 })
    .toBuffer()
  await writeFile(`${path}.part`, bytes)
  await rename(`${path}.part`, path)
  return path
}

sharp.concurrency(1)
app.get('/render/image/:id', async (request, reply) => {
  const who = await caller(request)
  const { id } = z.object({ id: z.uuid() }).parse(request.params)
  const { width } = z
    .object({ width: z.coerce.number().int().min(1).max(2048), format: z.literal('webp') })
    .parse(request.query)
  const object = await getObject(who, id)
  const path = await render(who, object.id, width, `${width}.webp`)
  return reply.type('image/webp').send(createReadStream(path))
})

consume('thumbnail', async ({ data: { topic, data, caller: who } }) => {
  if (topic !== 'media.object-stored' || data['imageFormat'] === null) return
  const id = String(data['objectId'])
  await render(who, id, 160, 'thumbnail.webp')
  await inTenant(who, async (trx) => {
    await trx.updateTable('objects').set({ thumbnail_at: new Date() }).where('id', '=', id).execute()
    await publish(trx as never, who, 'media.thumbnail-made', { objectId: id, name: data['name'] })
  })
})
startRelay(['thumbnail', 'count', 'announce'])
await listen(app)
