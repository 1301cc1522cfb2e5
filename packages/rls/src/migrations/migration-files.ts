import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { sql, type Kysely } from 'kysely'
import { RlsError } from '../errors.ts'
import { firstWords } from '../sql/comments.ts'
import { splitSql } from './split-sql.ts'

/** One migration of a folder. */
export interface MigrationFile {
  /** The file's name without its ending. */
  readonly name: string
  readonly path: string
  /** SHA-256 of the content and of the files that it imports by relative paths, with line ends as LF. */
  readonly checksum: string
}

/** What a migration does. */
export interface LoadedMigration {
  up(db: Kysely<unknown>): Promise<void>
  down?(db: Kysely<unknown>): Promise<void>
  /** It runs outside of a transaction, e.g. for CREATE INDEX CONCURRENTLY. */
  readonly noTransaction: boolean
  /** It blocks an app that is serving, and that is known. */
  readonly allowBlocking: boolean
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
      return { name: file.replace(endings, ''), path, checksum: await checksumOf(path) }
    }),
  )
  const twice = files.find((file, index) => files[index + 1]?.name === file.name)
  if (twice) throw failed(twice.name, new Error('Two files have this name. Rename one of them.'))
  return files
}

/** A byte order mark is none of the text, and line ends are those of the machine. */
async function readText(path: string): Promise<string> {
  return (await readFile(path, 'utf8')).replace(/^\uFEFF/, '').replaceAll('\r\n', '\n')
}

async function checksumOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  const [[, own] = ['', ''], ...imported] = await readImports(path)
  hash.update(own)
  for (const [file, text] of imported) {
    hash.update(`\0${relative(dirname(path), file).replaceAll('\\', '/')}\0${text}`)
  }
  return hash.digest('hex')
}

/** The text of a module and of all that it imports by relative paths, by path; the module first, the others in order. */
async function readImports(path: string): Promise<readonly (readonly [string, string])[]> {
  const texts = new Map([[path, await readText(path)]])
  if (path.endsWith('.sql')) return [...texts]
  for (const [from, text] of texts) {
    if (from.endsWith('.sql')) continue
    for (const [, one, other] of text.matchAll(relativeImport)) {
      const file = resolve(dirname(from), one ?? other ?? '')
      // What stands in a comment or a text may be no file.
      if (!texts.has(file) && (await isFile(file))) texts.set(file, await readText(file))
    }
  }
  const [first, ...others] = texts
  return first === undefined
    ? []
    : [first, ...others.toSorted(([a], [b]) => (relative(path, a) < relative(path, b) ? -1 : 1))]
}

/** `from './x.ts'`, `import './x.ts'`, `import('./x.ts')` and `new URL('./x.sql', …)`; types are erased, so they do not count. */
const relativeImport =
  /(?:^|[\s;])(?:(?:import|export)\b(?!\s+type\b)[^'"`;]*?\s*['"](\.{1,2}\/[^'"\n]+)['"])|\b(?:import|new\s+URL)\s*\(\s*['"](\.{1,2}\/[^'"\n]+)['"]/g

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  )
}

/** Loads a migration: a module's functions, or the statements of a SQL file. */
export async function loadMigration({ name, path }: MigrationFile): Promise<LoadedMigration> {
  if (path.endsWith('.sql')) return parseSqlMigration(name, await readText(path))
  let loaded: Partial<LoadedMigration>
  try {
    loaded = (await import(pathToFileURL(path).href)) as Partial<LoadedMigration>
  } catch (error) {
    throw failed(name, error)
  }
  const { up, down, noTransaction = false, allowBlocking = false } = loaded
  if (typeof up !== 'function') throw failed(name, new Error('The module exports no function up(db).'))
  for (const [key, value] of Object.entries({ noTransaction, allowBlocking })) {
    if (typeof value !== 'boolean') throw failed(name, new Error(`${key} is neither true nor false.`))
  }
  return { up, ...(typeof down === 'function' ? { down } : {}), noTransaction, allowBlocking }
}

/**
 * A line `-- migrate:down` parts the statements of `up` from those of `down`; with a line
 * `-- migrate:no-transaction` each statement runs by itself, and one `-- migrate:allow-blocking` is for the check.
 */
function parseSqlMigration(name: string, text: string): LoadedMigration {
  const noTransaction = /^--[ \t]*migrate:no-transaction[ \t]*$/m.test(text)
  const allowBlocking = /^--[ \t]*migrate:allow-blocking[ \t]*$/m.test(text)
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
  return { up: run(up), ...(down === undefined ? {} : { down: run(down) }), noTransaction, allowBlocking }
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
