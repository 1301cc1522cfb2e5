import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { sql, type Kysely } from 'kysely'
import { RlsError } from '../errors.ts'
import { firstWords, splitSql } from './split-sql.ts'

/** One migration of a folder. */
export interface MigrationFile {
  /** The file's name without its ending. */
  readonly name: string
  readonly path: string
  /** SHA-256 of the content, with line ends as LF. */
  readonly checksum: string
}

/** What a migration does. */
export interface LoadedMigration {
  up(db: Kysely<unknown>): Promise<void>
  down?(db: Kysely<unknown>): Promise<void>
  /** It runs outside of a transaction, e.g. for CREATE INDEX CONCURRENTLY. */
  readonly noTransaction: boolean
}

const endings = /\.(?:sql|ts|mts|js|mjs)$/

/** The migrations of a folder in the order in which they run. */
export async function readMigrationFiles(folder: string): Promise<readonly MigrationFile[]> {
  const entries = (await readdir(folder))
    .filter((file) => endings.test(file) && !file.endsWith('.d.ts'))
    .toSorted()
  const files = await Promise.all(
    entries.map(async (file): Promise<MigrationFile> => {
      const path = resolve(join(folder, file))
      const text = (await readFile(path, 'utf8')).replaceAll('\r\n', '\n')
      return {
        name: file.replace(endings, ''),
        path,
        checksum: createHash('sha256').update(text).digest('hex'),
      }
    }),
  )
  const twice = files.find((file, index) => files[index + 1]?.name === file.name)
  if (twice) throw failed(twice.name, new Error('Two files have this name. Rename one of them.'))
  return files
}

/** Loads a migration: a module's functions, or the statements of a SQL file. */
export async function loadMigration({ name, path }: MigrationFile): Promise<LoadedMigration> {
  if (path.endsWith('.sql')) return parseSqlMigration(name, await readFile(path, 'utf8'))
  let loaded: Partial<LoadedMigration>
  try {
    loaded = (await import(pathToFileURL(path).href)) as Partial<LoadedMigration>
  } catch (error) {
    throw failed(name, error)
  }
  const { up, down, noTransaction = false } = loaded
  if (typeof up !== 'function') throw failed(name, new Error('The module exports no function up(db).'))
  if (typeof noTransaction !== 'boolean') {
    throw failed(name, new Error('noTransaction is neither true nor false.'))
  }
  return { up, ...(typeof down === 'function' ? { down } : {}), noTransaction }
}

/**
 * A line `-- migrate:down` parts the statements of `up` from those of `down`; with a line
 * `-- migrate:no-transaction` each statement runs by itself.
 */
function parseSqlMigration(name: string, text: string): LoadedMigration {
  const noTransaction = /^--[ \t]*migrate:no-transaction[ \t]*$/m.test(text)
  const [up = '', down] = text.split(/^--[ \t]*migrate:down[ \t]*$/m)
  const run = (part: string) => {
    const statements = splitSql(part)
    const ending = statements.find((statement) => endsTransaction.test(firstWords(statement)))
    if (ending !== undefined) {
      throw failed(name, new Error(`Leave out ${firstWords(ending)}: each migration is a transaction.`))
    }
    return async (db: Kysely<unknown>) => {
      if (noTransaction) for (const statement of statements) await sql.raw(statement).execute(db)
      else if (statements.length > 0) await sql.raw(part).execute(db)
    }
  }
  return { up: run(up), ...(down === undefined ? {} : { down: run(down) }), noTransaction }
}

const endsTransaction =
  /^(?:begin|start\s+transaction|commit|end|abort|prepare\s+transaction|rollback(?!\s+(?:work\s+|transaction\s+)?to\b))\b/i

export function failed(name: string, cause: unknown): RlsError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new RlsError(`The migration ${name} failed: ${reason}`, {
    code: 'ERR_RLS_MIGRATION_FAILED',
    kind: 'internal',
    details: { migration: name },
    cause,
  })
}
