import { QuintetError } from '@quintet/core'
import { defineKeyset, type KeysetPage, type KeysetRequest } from '@quintet/rls/data'
import type { Kysely, Selectable, Transaction } from 'kysely'
import { z } from 'zod'
import type { ImageFormat } from './images/sniff.ts'
import type { MediaTables } from './schema.ts'

export type StoredObject = Selectable<MediaTables['objects']>

/** An object as clients see it. */
export const ObjectView = z.object({
  id: z.uuid(),
  name: z.string(),
  contentType: z.string(),
  size: z.int(),
  sha256: z.string(),
  hasThumbnail: z.boolean(),
})

export function viewObject(object: StoredObject): z.infer<typeof ObjectView> {
  const { id, name, content_type, size, sha256, thumbnail_at } = object
  return {
    id,
    name,
    contentType: content_type,
    size: Number(size),
    sha256,
    hasThumbnail: thumbnail_at !== null,
  }
}

/** Ids begin with the time. */
const newestFirst = defineKeyset([{ column: 'id', type: 'uuid', direction: 'desc' }])

/** A page of the tenant's objects, newest first. */
export async function listObjects(
  db: Kysely<MediaTables>,
  page: KeysetRequest,
): Promise<KeysetPage<StoredObject>> {
  return newestFirst.page(db.selectFrom('objects').selectAll(), page)
}

/** @throws QuintetError `ERR_MEDIA_NO_OBJECT` (not-found), also for an object of another tenant. */
export async function getObject(db: Kysely<MediaTables>, id: string): Promise<StoredObject> {
  const object = await db.selectFrom('objects').selectAll().where('id', '=', id).executeTakeFirst()
  return object ?? noObject()
}

export async function insertObject(
  trx: Transaction<MediaTables>,
  object: {
    readonly id: string
    readonly tenantId: string
    readonly ownerId: string
    readonly name: string
    readonly contentType: string
    readonly size: number
    readonly sha256: string
    readonly imageFormat: ImageFormat | undefined
  },
): Promise<StoredObject> {
  return trx
    .insertInto('objects')
    .values({
      id: object.id,
      tenant_id: object.tenantId,
      owner_id: object.ownerId,
      name: object.name,
      content_type: object.contentType,
      size: object.size,
      sha256: object.sha256,
      image_format: object.imageFormat ?? null,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
}

/** Marks that the thumbnail is there. False when the object is gone or had one already. */
export async function markThumbnail(trx: Transaction<MediaTables>, id: string): Promise<boolean> {
  const result = await trx
    .updateTable('objects')
    .set((column) => ({ thumbnail_at: new Date(), version: column('version', '+', 1) }))
    .where('id', '=', id)
    .where('thumbnail_at', 'is', null)
    .executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** @throws QuintetError `ERR_MEDIA_NOT_YOURS` (forbidden) for an object that the caller may see and not remove. */
export async function deleteObject(trx: Transaction<MediaTables>, id: string): Promise<StoredObject> {
  const object = await trx.deleteFrom('objects').where('id', '=', id).returningAll().executeTakeFirst()
  if (object) return object
  await getObject(trx, id)
  throw new QuintetError('Only its owner, or an owner of the tenant, removes an object.', {
    code: 'ERR_MEDIA_NOT_YOURS',
    kind: 'forbidden',
  })
}

function noObject(): never {
  throw new QuintetError('There is no such object.', { code: 'ERR_MEDIA_NO_OBJECT', kind: 'not-found' })
}
