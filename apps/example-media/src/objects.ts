import { QuintetError } from '@quintet/core'
import { defineKeyset, type KeysetPage, type KeysetRequest } from '@quintet/rls/data'
import { sql, type Kysely, type Selectable, type Transaction } from 'kysely'
import { z } from 'zod'
import type { Quota } from './config.ts'
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
  shared: z.boolean(),
})

export function viewObject(object: StoredObject): z.infer<typeof ObjectView> {
  const { id, name, content_type, size, sha256, thumbnail_at, shared } = object
  return {
    id,
    name,
    contentType: content_type,
    size: Number(size),
    sha256,
    hasThumbnail: thumbnail_at !== null,
    shared,
  }
}

/** Ids begin with the time. */
const newestFirst = defineKeyset([{ column: 'id', type: 'uuid', direction: 'desc' }])

/** A page of the objects that the caller may see, newest first. */
export async function listObjects(
  db: Kysely<MediaTables>,
  page: KeysetRequest,
): Promise<KeysetPage<StoredObject>> {
  return newestFirst.page(db.selectFrom('objects').selectAll().where('status', '=', 'ready'), page)
}

/** @throws QuintetError `ERR_MEDIA_NO_OBJECT` (not-found), also for an object of another tenant. */
export async function getObject(db: Kysely<MediaTables>, id: string): Promise<StoredObject> {
  const object = await db
    .selectFrom('objects')
    .selectAll()
    .where('id', '=', id)
    .where('status', '=', 'ready')
    .executeTakeFirst()
  return object ?? noObject()
}

/**
 * Begins an object: its row is there before its file, and takes the first step of the room that its size needs.
 *
 * @returns how many bytes of room it has.
 * @throws QuintetError `ERR_MEDIA_QUOTA` (too-large), at once where what is announced has no room now.
 */
export async function beginObject(
  db: Kysely<MediaTables>,
  object: {
    readonly id: string
    readonly tenantId: string
    readonly ownerId: string
    readonly name: string
    readonly contentType: string
    /** Bytes, as far as they are announced. */
    readonly size: number
  },
  quota: Quota,
): Promise<number> {
  const taken = Math.min(object.size, stepOf(quota))
  return db.transaction().execute(async (trx) => {
    await trx
      .insertInto('objects')
      .values({
        id: object.id,
        tenant_id: object.tenantId,
        owner_id: object.ownerId,
        name: object.name,
        content_type: object.contentType,
        size: taken,
        sha256: '',
        image_format: null,
        status: 'pending',
      })
      .execute()
    if (object.size > taken + (await assertRoom(trx, quota))) throw overQuota(quota)
    return taken
  })
}

/**
 * Takes the room of an object whose bytes are coming: what has come, and where there is room a step more.
 *
 * @returns how many bytes of room it has.
 * @throws QuintetError `ERR_MEDIA_NO_OBJECT` (not-found) when it was given up meanwhile, `ERR_MEDIA_QUOTA` (too-large).
 */
export async function growObject(
  db: Kysely<MediaTables>,
  id: string,
  size: number,
  quota: Quota,
): Promise<number> {
  return db.transaction().execute(async (trx) => {
    await takeRoom(trx, id, size)
    const ahead = Math.min(stepOf(quota), await assertRoom(trx, quota))
    if (ahead > 0) await takeRoom(trx, id, size + ahead)
    return size + ahead
  })
}

async function takeRoom(trx: Transaction<MediaTables>, id: string, size: number): Promise<void> {
  const { numUpdatedRows } = await trx
    .updateTable('objects')
    .set({ size, touched_at: sql<Date>`now()` })
    .where('id', '=', id)
    .where('status', '=', 'pending')
    .executeTakeFirst()
  if (numUpdatedRows === 0n) noObject()
}

/** How many bytes of room an upload takes ahead: what is announced and never sent leaves the room to others. */
function stepOf({ bytes }: Quota): number {
  return Math.ceil(bytes / 1_000)
}

/**
 * Completes an object whose bytes are all there.
 *
 * @throws QuintetError `ERR_MEDIA_NO_OBJECT` (not-found) when it was given up meanwhile, `ERR_MEDIA_QUOTA` (too-large).
 */
export async function completeObject(
  trx: Transaction<MediaTables>,
  id: string,
  stored: { readonly size: number; readonly sha256: string; readonly imageFormat: ImageFormat | undefined },
  quota: Quota,
): Promise<StoredObject> {
  const object = await trx
    .updateTable('objects')
    .set({
      status: 'ready',
      size: stored.size,
      sha256: stored.sha256,
      image_format: stored.imageFormat ?? null,
    })
    .where('id', '=', id)
    .where('status', '=', 'pending')
    .returningAll()
    .executeTakeFirst()
  if (object === undefined) return noObject()
  await assertRoom(trx, quota)
  return object
}

/** How many bytes are free for the tenant of the transaction, which has taken what it needs. */
async function assertRoom(trx: Transaction<MediaTables>, quota: Quota): Promise<number> {
  const { objects, bytes } = await trx
    .selectFrom('usage')
    .select(['objects', 'bytes'])
    .executeTakeFirstOrThrow()
  if (Number(objects) > quota.objects || Number(bytes) > quota.bytes) throw overQuota(quota)
  return quota.bytes - Number(bytes)
}

export function overQuota({ objects, bytes }: Quota): QuintetError {
  return new QuintetError(`A tenant keeps at most ${objects} objects, and ${bytes} bytes in all.`, {
    code: 'ERR_MEDIA_QUOTA',
    kind: 'too-large',
    details: { objects, bytes },
  })
}

/** Shares an object with all members of the tenant, or no more. */
export async function shareObject(
  db: Kysely<MediaTables>,
  id: string,
  shared: boolean,
): Promise<StoredObject> {
  return changeObject(db, id, { shared })
}

/** Removes an object for its users; its file and its row go next. */
export async function removeObject(trx: Transaction<MediaTables>, id: string): Promise<StoredObject> {
  return changeObject(trx, id, { status: 'removed' })
}

/** Forgets an object whose file is gone. */
export async function forgetObject(db: Kysely<MediaTables>, id: string): Promise<void> {
  await db.deleteFrom('objects').where('id', '=', id).where('status', '<>', 'ready').execute()
}

/** @throws QuintetError `ERR_MEDIA_NOT_YOURS` (forbidden) for an object that the caller may see and not change. */
async function changeObject(
  db: Kysely<MediaTables>,
  id: string,
  change: { readonly shared: boolean } | { readonly status: 'removed' },
): Promise<StoredObject> {
  const object = await db
    .updateTable('objects')
    .set(change)
    .where('id', '=', id)
    .where('status', '=', 'ready')
    .returningAll()
    .executeTakeFirst()
  if (object) return object
  await getObject(db, id)
  throw new QuintetError('Only its owner, or an owner of the tenant, changes an object.', {
    code: 'ERR_MEDIA_NOT_YOURS',
    kind: 'forbidden',
  })
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

export function noObject(cause?: unknown): never {
  throw new QuintetError('There is no such object.', {
    code: 'ERR_MEDIA_NO_OBJECT',
    kind: 'not-found',
    cause,
  })
}
