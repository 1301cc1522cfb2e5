import type { ColumnType, Generated } from 'kysely'

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
    thumbnail_at: ColumnType<Date | null, never, Date>
    version: Generated<number>
    created_at: ColumnType<Date, never, never>
  }
}
