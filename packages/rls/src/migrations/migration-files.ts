import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { sql, type Kysely } from 'kysely'
import type { Migration } from 'kysely/migration'
import { RlsError } from '../errors.ts'

/** One migration of a folder. */
export interface MigrationFile {
  /** The file's name without its ending. */
  readonly name: string
  readonly path: string
  /** SHA-256 of the content, with line ends as LF. */
  readonly checksum: string
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
export async function loadMigration({ name, path }: MigrationFile): Promise<Migration> {
  if (path.endsWith('.sql')) return parseSqlMigration(await readFile(path, 'utf8'))
  let loaded: Partial<Migration>
  try {
    loaded = (await import(pathToFileURL(path).href)) as Partial<Migration>
  } catch (error) {
    throw failed(name, error)
  }
  const { up, down } = loaded
  if (typeof up !== 'function') throw failed(name, new Error('The module exports no function up(db).'))
  return { up, ...(typeof down === 'function' ? { down } : {}) }
}

/** A line `-- migrate:down` parts the statements of `up` from those of `down`. */
function parseSqlMigration(text: string): Migration {
  const [up = '', down] = text.split(/^--[ \t]*migrate:down[ \t]*$/m)
  const run = (statements: string) => async (db: Kysely<unknown>) => {
    if (statements.replaceAll(/--[^\n]*/g, '').trim() !== '') await sql.raw(statements).execute(db)
  }
  return { up: run(up), ...(down === undefined ? {} : { down: run(down) }) }
}

export function failed(name: string, cause: unknown): RlsError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new RlsError(`The migration ${name} failed: ${reason}`, {
    code: 'ERR_RLS_MIGRATION_FAILED',
    kind: 'internal',
    details: { migration: name },
    cause,
  })
}
