import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { EcosystemStatus, Plan } from '../src/index.ts'
import { endLeftovers } from '../src/processes/end-leftovers.ts'
import { findMarked } from '../src/processes/find-processes.ts'
import { folderMark } from '../src/processes/process-mark.ts'
import { trioPlan } from './trio.ts'

/** A supervisor in a process of its own, whose apps go on when it is killed. */
export interface KeptSupervisor {
  readonly process: ChildProcess
  /** When everything was ready. */
  readonly status: EcosystemStatus
  /** Milliseconds from the start of the process. */
  readonly readyAfter: number
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>
  /** SIGTERM, and waits for the orderly stop. */
  stop(): Promise<number | null>
}

export async function startKept(
  folder: string,
  given?: Plan,
  options: Readonly<Record<string, unknown>> = {},
): Promise<KeptSupervisor> {
  const module = new URL('../src/daemon/serve-ecosystem.ts', import.meta.url).href
  const plan = given ?? (await trioPlan())
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] }
  const settings = { dataDirectory: folder, onSupervisorLoss: 'keep', env, ...options }
  const code = `
    const { readFileSync } = await import('node:fs')
    const { serveEcosystem } = await import(${JSON.stringify(module)})
    const plan = JSON.parse(readFileSync(0, 'utf8'))
    process.exitCode = await serveEcosystem(plan, {
      ...${JSON.stringify(settings)},
      async onLaunched(ecosystem) {
        await ecosystem.settled()
        console.log(JSON.stringify(await ecosystem.status()))
      },
    })`
  const startedAt = performance.now()
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  child.stdin.end(JSON.stringify(plan))
  const exited = once(child, 'exit') as Promise<[number | null]>
  const line = await Promise.race([
    once(createInterface(child.stdout), 'line').then(([text]) => String(text)),
    exited.then(([code_]) => {
      throw new Error(`The supervisor ended with exit code ${code_}.`)
    }),
  ])
  return {
    process: child,
    status: JSON.parse(line) as EcosystemStatus,
    readyAfter: performance.now() - startedAt,
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    async stop() {
      child.kill('SIGTERM')
      const [code_] = await exited
      return code_
    },
  }
}

const running = new Set<ChildProcess>()

/** The processes that carry the mark of a data folder. */
export async function markedBy(folder: string): Promise<number[]> {
  const { secrets } = JSON.parse(await readFile(join(folder, 'secrets.json'), 'utf8')) as {
    secrets: { mark?: string }
  }
  return secrets.mark === undefined ? [] : findMarked(folderMark(secrets.mark))
}

/** Ends every supervisor that was started here, and whatever a data folder has running. */
export async function endAll(folder: string): Promise<void> {
  for (const child of running) child.kill('SIGKILL')
  await endLeftovers(() => markedBy(folder).catch(() => []), { signal: 'SIGTERM', graceMs: 0 })
}
