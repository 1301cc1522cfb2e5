import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The types are stripped once, and not by each server again: what runs in production is built and holds no compiler. */
const compiled = mkdtempSync(join(tmpdir(), 'qc-'))
process.on('exit', () => rmSync(compiled, { recursive: true }))

/** What a process has used since it began. */
export interface Usage {
  /** Microseconds of user and system time. */
  readonly cpu: number
  /** The most memory it ever had, in bytes. */
  readonly maxRss: number
}

/** A server in a process of its own. */
export interface Child {
  readonly name: string
  readonly url: string
  usage(): Promise<Usage>
  stop(): Promise<void>
}

/**
 * @param place a path to listen at, instead of a port.
 * @param env of the process, beside that of this one.
 */
export async function startChild(
  name: string,
  place = '',
  env: Readonly<Record<string, string>> = {},
): Promise<Child> {
  const child: ChildProcess = fork(new URL('peer.ts', import.meta.url), [name, place], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: ['--disable-warning=ExperimentalWarning'],
    env: { ...process.env, ...env, NODE_ENV: 'production', NODE_COMPILE_CACHE: compiled },
  })
  const [{ url }] = (await once(child, 'message', { signal: AbortSignal.timeout(30_000) })) as [
    { url: string },
  ]
  return {
    name,
    url,
    async usage() {
      const answered = once(child, 'message')
      child.send('usage')
      const [usage] = (await answered) as [Usage]
      return usage
    },
    async stop() {
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}
