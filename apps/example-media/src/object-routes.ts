import { QuintetError, type Route, uuidv7, withServices } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { z } from 'zod'
import { sniffImage } from './images/sniff.ts'
import { maxEdge, Transform, variantOf } from './images/transform.ts'
import { beginObject, completeObject, forgetObject, getObject, growObject, viewObject } from './objects.ts'
import { serveContent } from './serve-content.ts'
import type { MediaServices } from './services.ts'
import { thumbnailVariant } from './thumbnail-events.ts'

const { route } = withServices<MediaServices>()

const UploadQuery = z.strictObject({
  name: z
    .string()
    .trim()
    .min(1)
    .max(200)
    .regex(/^\P{C}*$/u, 'must not hold control characters'),
})
/** @see RFC 9110 section 8.3.1 */
const mediaType =
  /^[\w!#$&^.+-]{1,64}\/[\w!#$&^.+-]{1,64}(?:\s*;\s*[\w!#$&^.+-]+=(?:[\w!#$&^.+-]+|"[ -~]*"))*$/

/** Takes the bytes of a new object straight to disk; it is seen, and told of, once all of them are there. */
const upload = route({
  method: 'POST',
  pattern: '/objects',
  access: 'authenticated',
  description: 'Stores an object: the body is its content, the query its name.',
  maxRequestSize: '10gb',
  timeout: 0,
  query: UploadQuery,
  handler: async (request, { query: { name }, services, principal, signal }) => {
    if (!request.body)
      throw new QuintetError('The request has no body.', { code: 'ERR_MEDIA_EMPTY', kind: 'invalid-input' })
    const id = uuidv7()
    const contentType = request.headers.get('content-type') ?? 'application/octet-stream'
    if (contentType.length > 200 || !mediaType.test(contentType))
      throw new QuintetError('The content type is no media type.', {
        code: 'ERR_MEDIA_BAD_TYPE',
        kind: 'invalid-input',
      })
    const { tenantId, userId: ownerId } = principal
    const { db, files, quota } = services
    const announced = { id, tenantId, ownerId, name, contentType, size: lengthOf(request) }
    const room = await beginObject(db, announced, quota)
    try {
      const body = takingRoom(request.body, room, (bytes) => growObject(db, id, bytes, quota))
      const { size, sha256, head } = await files.store(tenantId, id, body, signal)
      const imageFormat = sniffImage(head)
      const object = await db.transaction().execute(async (trx) => {
        const stored = await completeObject(trx, id, { size, sha256, imageFormat }, quota)
        const told = { objectId: id, ownerId, name, contentType, size, imageFormat: imageFormat ?? null }
        await services.events.publish(trx, 'media.object-stored', told)
        return stored
      })
      return Response.json(viewObject(object), {
        status: 201,
        headers: { location: `objects/${id}/content` },
      })
    } catch (error) {
      await giveUp(services, tenantId, id)
      throw error
    }
  },
})

/** What cannot be taken back now, e.g. since the client has gone away, is left to the reconciler. */
async function giveUp({ db, files }: MediaServices, tenantId: string, id: string): Promise<void> {
  await asSystem('give an upload up', async () => {
    const { numUpdatedRows } = await db
      .updateTable('objects')
      .set({ status: 'removed' })
      .where('id', '=', id)
      .where('status', '=', 'pending')
      .executeTakeFirst()
    if (numUpdatedRows === 0n) return
    await files.remove(tenantId, id)
    await forgetObject(db, id)
  }).catch(() => undefined)
}

const content = route({
  method: 'GET',
  pattern: '/objects/:id/content',
  access: 'authenticated',
  description: 'The bytes of an object.',
  timeout: 0,
  handler: async (request, { params, services, principal }) => {
    const object = await getObject(services.db, idOf(params))
    const file = await services.files.find(principal.tenantId, object.id)
    if (!file) return null
    return serveContent(request, {
      etag: `"${object.sha256}"`,
      type: object.content_type,
      size: file.size,
      // Whatever was uploaded is never run by a browser in the origin of the platform.
      headers: {
        'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(object.name)}`,
      },
      open: file.open,
    })
  },
})

const thumbnail = route({
  method: 'GET',
  pattern: '/objects/:id/thumbnail',
  access: 'authenticated',
  description: 'The thumbnail of an image, as soon as it is made.',
  handler: async (request, { params, services, principal }) => {
    const object = await getObject(services.db, idOf(params))
    const file =
      object.thumbnail_at && (await services.files.find(principal.tenantId, object.id, thumbnailVariant))
    if (!file) return null
    const etag = `"${object.sha256.slice(0, 16)}-${thumbnailVariant}"`
    return serveContent(request, { etag, type: 'image/webp', size: file.size, open: file.open })
  },
})

/** A result is kept: what was made once is read from disk, and a client that has it already is told so. */
const render = route({
  method: 'GET',
  pattern: '/render/image/*',
  access: 'authenticated',
  description: `An image in another size or format, ${maxEdge} pixels wide and high at most; made by a sibling process.`,
  timeout: '30s',
  query: Transform,
  handler: async (request, { params, query, services, principal, signal }) => {
    const object = await getObject(services.db, idOf({ id: params['*'] ?? '' }))
    const variant = variantOf(query)
    const find = (): ReturnType<typeof services.files.find> =>
      services.files.find(principal.tenantId, object.id, variant)
    let file = await find()
    if (!file) {
      const images = await services.images()
      await images.render({ objectId: object.id, ...query }, { signal })
      file = await find()
    }
    if (!file) return null
    return serveContent(request, {
      etag: `"${object.sha256.slice(0, 16)}-${variant}"`,
      type: `image/${query.format}`,
      size: file.size,
      headers: { 'cache-control': 'private, max-age=60' },
      open: file.open,
    })
  },
})

export const objectRoutes: readonly Route[] = [upload, content, thumbnail, render]

function idOf(params: Readonly<Record<string, string>>): string {
  const id = z.uuid().safeParse(params['id'])
  if (id.success) return id.data
  throw new QuintetError('The id of an object is a UUID.', {
    code: 'ERR_MEDIA_BAD_ID',
    kind: 'invalid-input',
  })
}

/** What the request announces of its body; 0 for one that is sent in chunks. */
function lengthOf(request: Request): number {
  return Number(request.headers.get('content-length') ?? 0)
}

/** How long an upload goes on before it says again that it does. */
const touchEvery = 60_000

/** Passes bytes on that have room: `grow` takes it as they come, and from time to time, which shows that they still do. */
async function* takingRoom(
  body: AsyncIterable<Uint8Array>,
  first: number,
  grow: (bytes: number) => Promise<number>,
): AsyncIterable<Uint8Array> {
  let [room, size, touchedAt] = [first, 0, performance.now()]
  for await (const chunk of body) {
    size += chunk.length
    if (size > room || performance.now() - touchedAt > touchEvery) {
      room = await grow(size)
      touchedAt = performance.now()
    }
    yield chunk
  }
}
