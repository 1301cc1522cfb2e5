import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  loadPlan,
  startEcosystem,
  type EcosystemEvent,
  type EcosystemRunOptions,
  type Plan,
  type RunningEcosystem,
} from '../src/index.ts'

export const trioConfig: string = fileURLToPath(new URL('./fixtures/trio/quintet.config.ts', import.meta.url))

export interface Trio extends AsyncDisposable {
  readonly ecosystem: RunningEcosystem
  readonly events: EcosystemEvent[]
  /** The phases of a process so far. */
  phases(id: string): string[]
}

let loaded: Promise<Plan> | undefined

export function trioPlan(): Promise<Plan> {
  loaded ??= loadPlan(trioConfig)
  return loaded
}

/** The three apps one <- two <- three with their gateway, changed as a test wants them. */
export async function startTrio(
  change: (plan: Plan) => Plan = (plan) => plan,
  options: EcosystemRunOptions = {},
): Promise<Trio> {
  const folder = await mkdtemp(join(tmpdir(), 'qt-'))
  const events: EcosystemEvent[] = []
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true })
  try {
    const ecosystem = await startEcosystem(change(await trioPlan()), {
      dataDirectory: folder,
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
      onEvent: (event) => events.push(event),
      ...options,
    })
    return {
      ecosystem,
      events,
      phases: (id) =>
        events.flatMap((event) => (event.type === 'process' && event.id === id ? [event.to] : [])),
      async [Symbol.asyncDispose]() {
        await ecosystem.stop()
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}

export async function get(
  ecosystem: RunningEcosystem,
  id: string,
  path = '/',
): Promise<{ system: string; pid: number; environment: Record<string, string> }> {
  const response = await fetch(`${ecosystem.urls[id]?.['http']}${path}`)
  return (await response.json()) as { system: string; pid: number; environment: Record<string, string> }
}

/** A process that has ended and that nobody has waited for (a zombie) does not count. */
export function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}
