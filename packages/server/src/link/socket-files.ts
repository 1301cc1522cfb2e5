import { randomBytes } from 'node:crypto'
import { mkdir, readdir, stat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'

/** The longest path that a unix socket can have on every platform. */
const longestPath = 103

const namePattern = /^(.+)\.([^.]+)\.(\d+)\.(\d+)-[0-9a-f]+\.sock$/

/** A socket of a process. */
export interface SocketFile {
  readonly path: string
}

/** The folder in which the processes of one deployment find each other's sockets. It is for its owner alone. */
export interface SocketFolder {
  /**
   * Makes the folder if it is missing.
   *
   * @throws TypeError when another user owns it or may write to it: that one could take the place of a process.
   */
  prepare(): Promise<void>
  /** A path for a new socket. The process id makes it new also while an older process of the same name drains. */
  pathFor(system: string, process: string, instance: number): string
  /** The sockets of all instances of a process. */
  find(system: string, process: string): Promise<readonly SocketFile[]>
  /** Removes what dead processes of this name left behind. */
  sweep(system: string, process: string): Promise<void>
}

export function openSocketFolder(directory: string): SocketFolder {
  const find = async (system: string, process: string): Promise<readonly SocketFile[]> => {
    let names: string[]
    try {
      names = await readdir(directory)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
    return names.flatMap((name) => {
      const match = namePattern.exec(name)
      if (match?.[1] !== system || match[2] !== process) return []
      return [{ path: join(directory, name) }]
    })
  }
  return {
    pathFor(system, name, instance) {
      const path = join(
        directory,
        `${system}.${name}.${String(instance)}.${String(process.pid)}-${randomBytes(3).toString('hex')}.sock`,
      )
      if (Buffer.byteLength(path) <= longestPath) return path
      throw new TypeError(
        `createLinks.directory: the socket path ${path} is longer than ${String(longestPath)} bytes. Give a folder with a shorter path.`,
      )
    },
    find,
    async prepare() {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      const { uid, mode } = await stat(directory)
      const own = process.getuid?.()
      if (own === undefined) return
      const fault =
        uid !== own && uid !== 0
          ? `belongs to user ${String(uid)}`
          : (mode & 0o022) !== 0 && 'can be written to by other users'
      if (fault !== false) {
        throw new TypeError(
          `createLinks.directory: ${directory} ${fault}. Give a folder that this user alone can write to (chmod 700).`,
        )
      }
    },
    async sweep(system, name) {
      const files = await find(system, name)
      await Promise.all(
        files.map(async ({ path }) => {
          if (await isAbandoned(path)) await unlink(path).catch(() => {})
        }),
      )
    },
  }
}

/**
 * Whether no process listens at a socket. A process id would not tell: containers that share the folder count their
 * processes apart, and an id is given out again.
 */
function isAbandoned(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
}
