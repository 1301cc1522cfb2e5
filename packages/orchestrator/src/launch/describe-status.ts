import type { EcosystemStatus, ProcessStatus, ServerStatus, Usage } from '../running/ecosystem-status.ts'
import type { Sample } from '../metrics/sampler.ts'
import type { Plan } from '../plan/plan.ts'
import type { Servers } from '../servers/servers.ts'
import { isSatisfied } from '../supervisor/process-machine.ts'
import type { SupervisedProcess } from '../supervisor/supervised-process.ts'
import type { Supervisor } from '../supervisor/supervisor.ts'

export interface StatusInput {
  readonly plan: Plan
  readonly dataDirectory: string
  readonly supervisor: Supervisor
  readonly servers: Servers
  readonly startedAt: number
  /** Measurements by process id and server name; `everything` is this process with all that it started. */
  readonly latest: (name: string) => Sample | undefined
  /** Of a process by its id. */
  readonly holder: (id: string) => ProcessStatus['holder']
}

export const everything = 'everything'

export function describeStatus(input: StatusInput): EcosystemStatus {
  const { plan, dataDirectory, supervisor, servers, startedAt, latest } = input
  const total = latest(everything)
  return {
    project: plan.project,
    pid: process.pid,
    startedAt,
    dataDirectory,
    processes: [...supervisor.processes.values()].map((each) => describeProcess(each, input)),
    servers: servers.list.map(({ name, source, port, pid, restarts }): ServerStatus => ({
      name,
      source,
      port,
      pid: pid ?? null,
      restarts,
      usage: usageOf(latest(name)),
    })),
    memory: { rss: total?.rss ?? 0, pss: total?.pss ?? 0 },
  }
}

function describeProcess(
  each: SupervisedProcess,
  { supervisor, latest, holder }: StatusInput,
): ProcessStatus {
  const { planned, machine, pid } = each
  const isReady = (id: string): boolean =>
    isSatisfied(supervisor.processes.get(id)?.machine.phase ?? 'stopped')
  return {
    id: planned.id,
    app: planned.app,
    process: planned.process,
    instance: planned.instance,
    kind: planned.kind,
    phase: machine.phase,
    since: machine.since,
    pid: pid ?? null,
    startedAt: each.startedAt ?? null,
    restarts: machine.restarts,
    lastFailure: machine.lastFailure ?? null,
    waitingFor:
      machine.phase === 'waiting' ? planned.dependsOn.filter((group) => !group.some(isReady)).flat() : [],
    urls: each.urls,
    health: each.report ?? null,
    usage: pid === undefined ? null : usageOf(latest(planned.id)),
    holder: holder(planned.id),
  }
}

function usageOf(sample: Sample | undefined): Usage | null {
  return sample ? { cpu: sample.cpu, rss: sample.rss, pss: sample.pss } : null
}
