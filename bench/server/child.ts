import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

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

export async function startChild(name: string, place = ''): Promise<Child> {
  const child: ChildProcess = fork(new URL('peer.ts', import.meta.url), [name, place], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: ['--disable-warning=ExperimentalWarning'],
    env: { ...process.env, NODE_ENV: 'production' },
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
