import { RlsError } from '../errors.ts'

/**
 * A backup is gzipped text with one JSON value per line: a header, then for each table a line with its
 * columns, lines with rows and a line with its sum, then the sequences, then the end. A file without its
 * end is no backup.
 */
export type BackupLine =
  | BackupHeader
  | { readonly kind: 'table'; readonly table: string; readonly columns: readonly string[] }
  | { readonly kind: 'rows'; readonly rows: readonly string[] }
  | TableSum
  | {
      readonly kind: 'sequence'
      readonly sequence: string
      readonly lastValue: string
      readonly isCalled: boolean
    }
  | { readonly kind: 'end' }

export interface BackupHeader {
  readonly kind: 'quintet-backup'
  readonly version: 1
  readonly database: string
  readonly takenAt: string
  /** What the database had been migrated to. */
  readonly migrations: readonly { readonly name: string; readonly checksum: string | null }[]
}

/** How many rows a table has, and a sum over them that does not depend on their order. */
export interface TableSum {
  readonly kind: 'sum'
  readonly table: string
  readonly rows: number
  readonly sum: string
}

export function backupInvalid(reason: string, cause?: unknown): RlsError {
  return new RlsError(`The backup cannot be used: ${reason}`, {
    code: 'ERR_RLS_BACKUP_INVALID',
    kind: 'conflict',
    cause,
  })
}
