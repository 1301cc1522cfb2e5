import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openProcessChannels } from '../control/process-channels.ts'
import type { ProcessLog } from '../logs/process-log.ts'
import { createSampler, type Sampler } from '../metrics/sampler.ts'
import type { Plan } from '../plan/plan.ts'
import { startGuardian, type Guardian } from '../processes/guardian.ts'
import { childMark, runMark, type ProcessMark } from '../processes/process-mark.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'
import { isOver } from '../running/process-phase.ts'
import type { DatabaseUrls } from '../servers/provision.ts'
import type { Servers } from '../servers/servers.ts'
import type { StateDirectory } from '../state/state-directory.ts'
import { processEnvironment } from '../supervisor/process-environment.ts'
import { createSupervisor, type Supervisor } from '../supervisor/supervisor.ts'
import { supervisorClock } from '../supervisor/timers.ts'
import { everything } from './describe-status.ts'
import type { Kept } from './keeping.ts'
import type { OpenFolder } from './open-folder.ts'
import { openLogs } from './open-logs.ts'
import type { Outcome } from './outcome.ts'
import { startedWith, type StartedWith, type StartInput } from './started-with.ts'

export interface SuperviseOptions {
  readonly plan: Plan
  readonly state: StateDirectory
  readonly folder: OpenFolder
  readonly servers: Servers
  readonly databases: Readonly<Record<string, DatabaseUrls>>
  readonly ports: ReadonlyMap<string, Readonly<Record<string, number>>>
  readonly env: Readonly<Record<string, string | undefined>>
  readonly dev: boolean
  readonly outcome: Outcome
  readonly onEvent: (event: EcosystemEvent) => void
}

/** The processes of an ecosystem, none started yet, and what is written down and measured of them. */
export interface Supervision {
  readonly supervisor: Supervisor
  readonly logs: ReadonlyMap<string, ProcessLog>
  readonly sampler: Sampler
  /** Undefined where processes end with their supervisor. */
  readonly kept: Kept | undefined
  /** What a process is started with under a plan, where it has those ports. */
  readonly startedWith: (plan: Plan, ports: SuperviseOptions['ports'], id: string) => StartedWith
}

export async function supervise(made: AsyncDisposableStack, options: SuperviseOptions): Promise<Supervision> {
  const { plan, state, ports, servers, onEvent } = options
  const { keeping, secrets } = options.folder
  const logs = await openLogs(plan, state)
  made.defer(async () => void (await Promise.all([...logs.values()].map((log) => log.close()))))
  const linksDirectory = join(state.run, 'links')
  await mkdir(linksDirectory, { recursive: true, mode: 0o700 })
  const channels = await openProcessChannels(
    // Where processes that went on look for the next supervisor.
    join(state.run, 'processes.sock'),
    secrets.get('control'),
  )
  made.defer(() => channels.close())
  const ofRun = unlike(keeping.found.marks, () => runMark(options.folder.mark))
  let children = 0
  const mark = (): ProcessMark => childMark(ofRun, (children += 1))
  const guardian = keeping.policy === 'keep' ? noGuardian : startGuardian(ofRun)
  made.defer(() => guardian.release())

  const inputOf = (of: Plan, given: SuperviseOptions['ports']): StartInput => ({
    plan: of,
    ports: given,
    environment(id, inherited = options.env as Record<string, string>) {
      const planned = of.processes.find((each) => each.id === id)
      if (!planned) throw new TypeError(`There is no process ${id}.`)
      const { dev, databases } = options
      const redisUrl = servers.url('redis')
      return processEnvironment(planned, {
        ...{ plan: of, env: inherited, dev, secrets, databases, redisUrl, linksDirectory, ports: given },
      })
    },
  })
  const input = inputOf(plan, ports)
  const { environment } = input
  const kept = keeping.open({ ...input, mark })
  const supervisor = createSupervisor({
    plan,
    ...(kept ? { spawn: kept.spawn, adopted: kept.adopted } : {}),
    standby: (id) =>
      kept?.takesSuccessor(id) ? join(state.run, `s.${randomBytes(3).toString('hex')}`) : undefined,
    logs,
    ports,
    channels,
    guardian,
    mark,
    clock: supervisorClock,
    environment,
    onEvent(event) {
      if (event.type === 'process') logs.get(event.id)?.note(`${event.from} -> ${event.to}: ${event.reason}`)
      if (event.type === 'reload') logs.get(event.id)?.note(`reload ${event.state}: ${event.reason}`)
      if (event.type === 'process' && isOver(event.to)) kept?.release(event.id)
      onEvent(event)
    },
    onEscalated: (id, reason) => options.outcome.fail({ id, reason: `${id} failed: ${reason}` }),
  })
  const sampler = createSampler({ ...plan.metrics, targets: () => targetsOf(supervisor, servers) })
  made.defer(() => sampler.close())
  return {
    ...{ supervisor, logs, sampler, kept },
    startedWith: (of, given, id) => startedWith(id, inputOf(of, given)),
  }
}

/** Where everything outlives its supervisor. */
const noGuardian: Guardian = { add: () => undefined, remove: () => undefined, release: () => undefined }

/** A mark that none of those that are in use begins with. */
function unlike(marks: readonly ProcessMark[], make: () => ProcessMark): ProcessMark {
  for (;;) {
    const made = make()
    if (!marks.some(({ variable }) => variable.startsWith(made.variable))) return made
  }
}

function targetsOf(supervisor: Supervisor, servers: Servers): Map<string, [number, ...number[]]> {
  const targets = new Map<string, [number, ...number[]]>()
  for (const { name, pid } of servers.list) if (pid !== undefined) targets.set(name, [pid])
  for (const [id, { pid }] of supervisor.processes) if (pid !== undefined) targets.set(id, [pid])
  // What was taken over is no descendant of ours.
  return targets.set(everything, [process.pid, ...[...targets.values()].flat()])
}
