import { randomBytes } from 'node:crypto'
import { mkdir, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { isProcessAlive } from '@quintet/core/kit'

/** The longest path that a unix socket can have on every platform. */
const longestPath = 103

const namePattern = /^(.+)\.([^.]+)\.(\d+)\.(\d+)-[0-9a-f]+\.sock$/

/** Whose socket a file is. */
export interface SocketFile {
  readonly path: string
  readonly pid: number
}

/** The folder in which the processes of one deployment find each other's sockets. It is for its owner alone. */
export interface SocketFolder {
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
      return [{ path: join(directory, name), pid: Number(match[4]) }]
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
    async sweep(system, name) {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      for (const { path, pid } of await find(system, name)) {
        if (!isProcessAlive(pid)) await unlink(path).catch(() => {})
      }
    },
  }
}
