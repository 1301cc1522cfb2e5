import { execFile } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { promisify } from 'node:util'

/** The process that listens on a port. */
export interface PortOwner {
  readonly pid: number
  /** Its command line, as far as we may see it. */
  readonly command: string
}

/** Finds who listens on a TCP port. Undefined when no process does, or when it is another user's, which may not be looked into. */
export async function findPortOwner(port: number): Promise<PortOwner | undefined> {
  return process.platform === 'linux' ? findInProc(port) : findWithLsof(port)
}

/** The owner in words, for an error message: `pid 4711 (node server.js)`. */
export function describePortOwner(owner: PortOwner | undefined): string {
  return owner ? `pid ${owner.pid} (${owner.command})` : 'another process'
}

const listening = '0A'

async function findInProc(port: number): Promise<PortOwner | undefined> {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const inodes = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const lines = (await readFile(table, 'utf8').catch(() => '')).split('\n').slice(1)
    for (const line of lines) {
      const columns = line.trim().split(/\s+/)
      if (columns[1]?.endsWith(wanted) && columns[3] === listening && columns[9])
        inodes.add(`socket:[${columns[9]}]`)
    }
  }
  if (inodes.size === 0) return undefined
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    for (const descriptor of await readdir(`/proc/${entry}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${entry}/fd/${descriptor}`).catch(() => '')
      if (inodes.has(target)) return { pid: Number(entry), command: await commandOf(entry) }
    }
  }
  return undefined
}

async function commandOf(pid: string): Promise<string> {
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return line.split('\0').join(' ').trim().slice(0, 200)
}

async function findWithLsof(port: number): Promise<PortOwner | undefined> {
  const run = promisify(execFile)
  const { stdout } = await run('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc']).catch(() => ({
    stdout: '',
  }))
  const pid = /^p(\d+)$/m.exec(stdout)?.[1]
  return pid === undefined ? undefined : { pid: Number(pid), command: /^c(.*)$/m.exec(stdout)?.[1] ?? '' }
}
