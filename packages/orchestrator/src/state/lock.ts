import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { OrchestratorError } from '../errors.ts'
import { replaceFile } from './replace-file.ts'
import { lockFolder } from './state-directory.ts'

/** Exclusive ownership of a data folder. */
export interface Lock extends AsyncDisposable {
  release(): Promise<void>
}

/** The owner of a data folder, as it has written itself down. */
export interface LockHolder {
  readonly pid: number
  /** Where its sockets are. */
  readonly run: string
}

/** How often a lock that another process tries to take at the same moment is tried. */
const attempts = 40

/**
 * Takes the lock of a data folder.
 *
 * The lock is a listening unix socket, which the kernel closes with its process however that ends: nothing is left to
 * be judged by a pid, which means another process after a restart of a container. Each contender raises a flag, a
 * listening socket under a name of its own, and then looks at all other flags. One that refuses connections is dead and
 * is removed; its name never comes back. When another one is alive the contender lowers its own flag, and
 * tries again unless that one holds the lock. So two can give way to each other, but never both go on.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_ALREADY_RUNNING` naming who holds it.
 */
export async function takeLock(root: string, run: string): Promise<Lock> {
  const folder = lockFolder(root)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (let attempt = 0; attempt < attempts; attempt++) {
    const flag = await raiseFlag(folder)
    const others = await liveFlags(folder, flag.name)
    if (others.length === 0) {
      writeHolder(folder, { pid: process.pid, run, flag: flag.name })
      return { release: flag.lower, [Symbol.asyncDispose]: flag.lower }
    }
    await flag.lower()
    const holder = readHolder(folder)
    if (holder && others.includes(holder.flag)) throw alreadyRunning(holder)
    await delay(5 + Math.random() * 20)
  }
  throw new OrchestratorError(
    `The lock of ${root} cannot be taken: other commands take it at the same time. Try again.`,
    { code: 'ERR_ORCHESTRATOR_ALREADY_RUNNING', kind: 'conflict' },
  )
}

/** The process that holds the lock of a data folder, if one does. */
export async function readLock(root: string): Promise<LockHolder | undefined> {
  const folder = lockFolder(root)
  const holder = readHolder(folder)
  if (!holder || !(await isListening(folder, holder.flag))) return undefined
  return { pid: holder.pid, run: holder.run }
}

export function alreadyRunning(holder: LockHolder): OrchestratorError {
  return new OrchestratorError(
    `The ecosystem is running already (pid ${holder.pid}). See "quintet status"; "quintet down" stops it.`,
    { code: 'ERR_ORCHESTRATOR_ALREADY_RUNNING', kind: 'conflict' },
  )
}

interface Flag {
  readonly name: string
  lower(): Promise<void>
}

async function raiseFlag(folder: string): Promise<Flag> {
  const name = `${randomBytes(6).toString('hex')}.sock`
  const server = createServer((socket) => socket.destroy())
  // It gets its name when it listens: between bind and listen it would be taken for a dead one.
  try {
    await withShortPath(folder, (path) => listen(server, join(path, `.${name}`)))
  } catch (cause) {
    throw new OrchestratorError(
      `The data folder cannot be locked: no unix socket can be made in ${folder} (${(cause as Error).message}). Choose a folder on a local disk with --data.`,
      { code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY', kind: 'unavailable', cause },
    )
  }
  renameSync(join(folder, `.${name}`), join(folder, name))
  server.unref()
  let lowered: Promise<void> | undefined
  return {
    name,
    lower() {
      lowered ??= new Promise((resolve) => {
        rmSync(join(folder, name), { force: true })
        server.close(() => resolve())
      })
      return lowered
    },
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
}

/** The flags of others that are alive. Dead ones are removed. */
async function liveFlags(folder: string, own: string): Promise<string[]> {
  const names = readdirSync(folder).filter((name) => /^[0-9a-f]{12}\.sock$/.test(name) && name !== own)
  const alive = await Promise.all(names.map((name) => isListening(folder, name)))
  names.forEach((name, index) => {
    if (!alive[index]) rmSync(join(folder, name), { force: true })
  })
  return names.filter((_, index) => alive[index])
}

/** False only when the kernel says that there is no listener; whatever else goes wrong counts as one. */
function isListening(folder: string, name: string): Promise<boolean> {
  return withShortPath(
    folder,
    (path) =>
      new Promise((resolve) => {
        const socket = connect(join(path, name))
        socket.once('connect', () => {
          socket.destroy()
          resolve(true)
        })
        socket.once('error', (error: NodeJS.ErrnoException) => {
          resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT')
        })
      }),
  )
}

/** A unix socket's path holds little more than 100 bytes: a longer one is reached through a link for a moment. */
async function withShortPath<T>(folder: string, use: (path: string) => Promise<T>): Promise<T> {
  if (Buffer.byteLength(folder) < 80) return use(folder)
  const place = mkdtempSync(join(tmpdir(), 'q-'))
  try {
    const link = join(place, 'l')
    symlinkSync(folder, link)
    return await use(link)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

interface HolderRecord extends LockHolder {
  readonly flag: string
}

function holderFile(folder: string): string {
  return join(folder, 'holder.json')
}

function writeHolder(folder: string, holder: HolderRecord): void {
  replaceFile(holderFile(folder), JSON.stringify(holder))
}

function readHolder(folder: string): HolderRecord | undefined {
  try {
    return JSON.parse(readFileSync(holderFile(folder), 'utf8')) as HolderRecord
  } catch (cause) {
    // Another user's ecosystem is not one that does not run.
    if ((cause as NodeJS.ErrnoException).code === 'EACCES') throw isAnothers(folder, cause)
    return undefined
  }
}

function isAnothers(folder: string, cause: unknown): OrchestratorError {
  return new OrchestratorError(
    `The data folder ${dirname(folder)} belongs to another user, and this one may not look into it. Run the command as the user who started the ecosystem.`,
    { code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY', kind: 'unavailable', cause },
  )
}
