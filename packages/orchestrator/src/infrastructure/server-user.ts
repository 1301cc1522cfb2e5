import { execFileSync } from 'node:child_process'
import { statSync, type Stats } from 'node:fs'
import { chown } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { InfrastructureError } from './errors.ts'

/** The user that a server runs as when we are root. */
export interface ServerUser {
  readonly uid: number
  readonly gid: number
}

export function isRoot(): boolean {
  return process.getuid?.() === 0
}

let nobody: ServerUser | undefined

/** `nobody` when we are root, because PostgreSQL refuses root and Redis needs no rights; otherwise undefined: ourselves. */
export function serverUser(): ServerUser | undefined {
  if (!isRoot()) return undefined
  nobody ??= { uid: numericId('-u'), gid: numericId('-g') }
  return nobody
}

function numericId(flag: '-u' | '-g'): number {
  try {
    return Number(
      execFileSync('id', [flag, 'nobody'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim(),
    )
  } catch (cause) {
    throw new InfrastructureError(
      'Servers are not run as root, and there is no user "nobody" to run them as. Run as an ordinary user, or set DATABASE_URL and REDIS_URL.',
      { code: 'ERR_INFRASTRUCTURE_NOT_AVAILABLE', cause },
    )
  }
}

/** Hands a folder or file to the server's user; nothing to do when that is ourselves. */
export async function giveTo(user: ServerUser | undefined, path: string): Promise<void> {
  if (user) await chown(path, user.uid, user.gid)
}

/**
 * Refuses a folder that the server's user cannot get to.
 *
 * @throws InfrastructureError `ERR_INFRASTRUCTURE_DATA_DIRECTORY` naming the folder on the way that is closed.
 */
export function assertReachable(user: ServerUser | undefined, path: string): void {
  const closed = user && closedFolder(user, path)
  if (!closed) return
  throw new InfrastructureError(
    `${path} cannot be used: the server runs as user "nobody", which may not enter ${closed}. Choose a folder outside of it, or run "chmod o+x ${closed}".`,
    { code: 'ERR_INFRASTRUCTURE_DATA_DIRECTORY' },
  )
}

/** The first folder on the way to `path`, from the root, that the user may not enter. */
export function closedFolder(user: ServerUser, path: string): string | undefined {
  const folders: string[] = []
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    folders.unshift(folder)
    if (folder === dirname(folder)) break
  }
  return folders.find((folder) => {
    const stats = statOrNothing(folder)
    return stats !== undefined && !mayEnter(user, stats)
  })
}

function mayEnter(user: ServerUser, stats: Stats): boolean {
  if (stats.uid === user.uid) return (stats.mode & 0o100) !== 0
  if (stats.gid === user.gid) return (stats.mode & 0o010) !== 0
  return (stats.mode & 0o001) !== 0
}

function statOrNothing(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false })
}
