import { QuintetError, type Route, uuidv7, withServices } from '@quintet/core'
import { z } from 'zod'
import { sniffImage } from './images/sniff.ts'
import { maxEdge, Transform, variantOf } from './images/transform.ts'
import { getObject, insertObject, viewObject } from './objects.ts'
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

/** Takes the bytes of a new object straight to disk; the row and the event exist once all of them are there. */
const upload = route({
  method: 'POST',
  pattern: '/objects',
  access: 'authenticated',
  description: 'Stores an object: the body is its content, the query its name.',
  maxRequestSize: '10gb',
  timeout: 0,
  handler: async (request, { services, principal, signal }) => {
    const { name } = readQuery(UploadQuery, request)
    if (!request.body)
      throw new QuintetError('The request has no body.', { code: 'ERR_MEDIA_EMPTY', kind: 'invalid-input' })
    const id = uuidv7()
    const contentType = request.headers.get('content-type') ?? 'application/octet-stream'
    if (contentType.length > 200 || !mediaType.test(contentType))
      throw new QuintetError('The content type is no media type.', {
        code: 'ERR_MEDIA_BAD_TYPE',
        kind: 'invalid-input',
      })
    const { size, sha256, head } = await services.files.store(principal.tenantId, id, request.body, signal)
    const imageFormat = sniffImage(head)
    try {
      const object = await services.db.transaction().execute(async (trx) => {
        const inserted = await insertObject(trx, {
          id,
          tenantId: principal.tenantId,
          ownerId: principal.userId,
          name,
          contentType,
          size,
          sha256,
          imageFormat,
        })
        await services.events.publish(trx, 'media.object-stored', {
          objectId: id,
          ownerId: principal.userId,
          name,
          contentType,
          size,
          imageFormat: imageFormat ?? null,
        })
        return inserted
      })
      return Response.json(viewObject(object), {
        status: 201,
        headers: { location: `objects/${id}/content` },
      })
    } catch (error) {
      await services.files.remove(principal.tenantId, id)
      throw error
    }
  },
})

const content = route({
  method: 'GET',
  pattern: '/objects/:id/content',
  access: 'authenticated',
  description: 'The bytes of an object.',
  timeout: 0,
  handler: async (_, { params, services, principal }) => {
    const object = await getObject(services.db, idOf(params))
    const file = await services.files.read(principal.tenantId, object.id)
    if (!file) return null
    // Whatever was uploaded is never run by a browser in the origin of the platform.
    return new Response(file.stream, {
      headers: {
        'content-type': object.content_type,
        'content-length': String(file.size),
        'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(object.name)}`,
      },
    })
  },
})

const thumbnail = route({
  method: 'GET',
  pattern: '/objects/:id/thumbnail',
  access: 'authenticated',
  description: 'The thumbnail of an image, as soon as it is made.',
  handler: async (_, { params, services, principal }) => {
    const object = await getObject(services.db, idOf(params))
    const file =
      object.thumbnail_at && (await services.files.read(principal.tenantId, object.id, thumbnailVariant))
    if (!file) return null
    return new Response(file.stream, {
      headers: { 'content-type': 'image/webp', 'content-length': String(file.size) },
    })
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
    const headers = {
      'cache-control': 'private, max-age=60',
      etag: `"${object.sha256.slice(0, 16)}-${variant}"`,
    }
    if (request.headers.get('if-none-match') === headers.etag)
      return new Response(null, { status: 304, headers })
    const read = (): ReturnType<typeof services.files.read> =>
      services.files.read(principal.tenantId, object.id, variant)
    let file = await read()
    if (!file) {
      const images = await services.images()
      await images.render({ objectId: object.id, ...query }, { signal })
      file = await read()
    }
    if (!file) return null
    return new Response(file.stream, {
      headers: {
        ...headers,
        'content-type': `image/${query.format}`,
        'content-length': String(file.size),
      },
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

function readQuery<Shape extends z.ZodType>(schema: Shape, request: Request): z.output<Shape> {
  const query = schema.safeParse(Object.fromEntries(new URL(request.url).searchParams))
  if (query.success) return query.data
  throw new QuintetError(z.prettifyError(query.error), { code: 'ERR_MEDIA_BAD_QUERY', kind: 'invalid-input' })
}
