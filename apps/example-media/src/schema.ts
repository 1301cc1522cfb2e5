import type { ColumnType, Generated } from 'kysely'
import type { ImageFormat } from './images/sniff.ts'

/** The tables of media, as Kysely knows them. */
export interface MediaTables {
  objects: {
    id: string
    tenant_id: string
    owner_id: string
    name: string
    content_type: string
    /** Bytes. PostgreSQL gives a bigint as a string. */
    size: ColumnType<string, number, number>
    sha256: string
    /** What the first bytes are; null for what is no image. */
    image_format: ImageFormat | null
    thumbnail_at: ColumnType<Date | null, never, Date>
    shared: ColumnType<boolean, never, boolean>
    status: 'pending' | 'ready' | 'removed'
    version: Generated<number>
    created_at: ColumnType<Date, never, never>
    /** When bytes came last, give or take a minute; of uploads in progress. */
    touched_at: ColumnType<Date, never, Date>
  }
  /** What each tenant keeps, counted by a trigger on objects, whatever their status is. */
  usage: {
    tenant_id: string
    objects: ColumnType<string, never, never>
    /** Also what has come of uploads in progress, and a step ahead of it. */
    bytes: ColumnType<string, never, never>
  }
}
