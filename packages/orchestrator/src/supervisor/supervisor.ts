import { isAlive } from './process-machine.ts'
import type { Plan, PlannedProcess } from '../plan/plan.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'
import type { ReloadResult, RestartOptions } from '../running/running-ecosystem.ts'
import { createProcessGroup, type ProcessGroup } from './group/process-group.ts'
import { reloadInTurn, type ReloadInTurnOptions } from './group/reload.ts'
import { restartInRounds, restartOthers } from './group/restart.ts'
import { selectProcesses } from './group/select-processes.ts'
import { assertRunning, isSettled, whenNeedsAreReady } from './group/settled.ts'
import { stopAll, stopThese } from './group/stop.ts'
import {
  createSupervisedProcess,
  type AdoptedProcess,
  type SupervisedProcess,
  type SupervisedProcessOptions,
} from './supervised-process.ts'

export interface SupervisorOptions extends Pick<
  SupervisedProcessOptions,
  'channels' | 'clock' | 'guardian' | 'mark' | 'spawn'
> {
  readonly plan: Plan
  readonly logs: ReadonlyMap<string, SupervisedProcess['log']>
  readonly ports: ReadonlyMap<string, Readonly<Record<string, number>>>
  readonly environment: (id: string) => Readonly<Record<string, string>>
  /** @defaultValue none can stand by beside the old one */
  readonly standby?: ReloadInTurnOptions['standby']
  /** What an earlier supervisor has left, by process. */
  readonly adopted?: ReadonlyMap<string, AdoptedProcess>
  readonly onEvent: (event: EcosystemEvent) => void
  /** A critical app has failed. */
  readonly onEscalated: (id: string, reason: string) => void
}

/** All processes of a plan: what each waits for, what falls with it, and in which order they stop. */
export interface Supervisor {
  readonly processes: ReadonlyMap<string, SupervisedProcess>
  start(): void
  /**
   * Resolves when every process is ready, completed, or not to be waited for: failed, past its budget, unhealthy, or
   * waiting for one of these.
   */
  settled(signal?: AbortSignal): Promise<void>
  /**
   * Restarts an app, a process or one instance.
   *
   * @throws OrchestratorError `ERR_ORCHESTRATOR_UNKNOWN_PROCESS`
   */
  restart(name: string, options?: RestartOptions): Promise<readonly string[]>
  /**
   * Reloads the services of an app, a process, an instance, or all.
   *
   * @throws OrchestratorError `ERR_ORCHESTRATOR_UNKNOWN_PROCESS`
   */
  reload(name?: string): Promise<ReloadResult>
  /** Stops processes for good, dependents first. */
  retire(ids: readonly string[]): Promise<void>
  /** Stops everything in order. Idempotent. */
  stop(reason: string): Promise<void>
  /** Ends everything at once. */
  kill(): void
}

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const group = createProcessGroup(options.plan, options.clock)
  for (const planned of options.plan.processes) group.add(superviseOne(group, planned, options))
  return new GroupSupervisor(group, options)
}

function superviseOne(
  group: ProcessGroup,
  planned: PlannedProcess,
  options: SupervisorOptions,
): SupervisedProcess {
  const { id } = planned
  const { clock, channels, guardian, mark, spawn, onEvent } = options
  const log = options.logs.get(id)
  if (!log) throw new TypeError(`There is no log for ${id}.`)
  return createSupervisedProcess({
    ...{ planned, log, clock, channels, guardian, mark },
    ...(spawn ? { spawn } : {}),
    supervision: group.plan.supervision,
    ports: options.ports.get(id) ?? {},
    adopted: options.adopted?.get(id),
    environment: () => options.environment(id),
    onChange(transition) {
      onEvent({ type: 'process', at: clock.now(), id, ...transition })
      group.changed(id, transition)
    },
    onCrash: () => void restartOthers(group, id),
    onExhausted: (reason) => escalate(group, planned, reason, options),
  })
}

/** A process that is not critical fails alone, a critical one with its app, and a critical app with everything. */
function escalate(
  group: ProcessGroup,
  { id, app, critical, kind }: PlannedProcess,
  reason: string,
  { onEvent, onEscalated }: SupervisorOptions,
): void {
  const members = group.plan.processes.filter((each) => each.app === app).map((each) => each.id)
  if (!critical || group.isStopping) return
  // A migration that fails stops what waits for it, and not what has been taken over and serves.
  if (kind === 'task' && members.some((member) => isAlive(group.get(member).machine.phase))) return
  const level = group.plan.apps.find(({ name }) => name === app)?.critical ? 'platform' : 'app'
  onEvent({ type: 'escalated', id, level, reason })
  if (level === 'platform') onEscalated(id, reason)
  else void stopThese(group, members, { reason: `${id} failed` })
}

class GroupSupervisor implements Supervisor {
  readonly #group: ProcessGroup
  readonly #options: SupervisorOptions
  /** Reloads in progress. */
  readonly #reloads = new Set<Promise<unknown>>()
  /** What an earlier supervisor has left is being reloaded. */
  #renewal: Promise<void> | undefined
  #stopped: Promise<void> | undefined

  constructor(group: ProcessGroup, options: SupervisorOptions) {
    this.#group = group
    this.#options = options
  }

  get processes(): ReadonlyMap<string, SupervisedProcess> {
    return this.#group.processes
  }

  start(): void {
    const { adopted } = this.#options
    for (const [id, { machine }] of this.processes) {
      const found = adopted?.get(id)
      machine.send(found ? { type: 'adopt', stopping: found.stopping ?? false } : { type: 'start' })
    }
    this.#group.updateGates()
    const stale = this.#ids.filter((id) => adopted?.get(id)?.isStale)
    if (stale.length > 0) this.#renewal = this.#renew(stale)
  }

  /** Reloads what is to run with something else, when what it depends on is ready. */
  async #renew(stale: readonly string[]): Promise<void> {
    const services = stale.filter((id) => this.#group.get(id).planned.kind === 'service')
    await this.#reloadInTurn(services, { before: (id) => whenNeedsAreReady(this.#group, id) })
    this.#renewal = undefined
    this.#group.notify()
  }

  settled(signal?: AbortSignal): Promise<void> {
    const isDone = (): boolean =>
      this.#renewal === undefined && this.#ids.every((id) => isSettled(this.#group, id))
    return this.#group.until(isDone, signal)
  }

  async restart(name: string, options: RestartOptions = {}): Promise<readonly string[]> {
    const ids = selectProcesses(this.#group.plan, name)
    await restartInRounds(this.#group, ids, options)
    return ids
  }

  async reload(name?: string): Promise<ReloadResult> {
    const wanted = name === undefined ? this.#ids : selectProcesses(this.#group.plan, name)
    assertRunning(this.#group)
    const services = wanted.filter((id) => this.#group.get(id).planned.kind === 'service')
    return this.#reloadInTurn(services)
  }

  async #reloadInTurn(
    ids: readonly string[],
    more: Pick<ReloadInTurnOptions, 'before'> = {},
  ): Promise<ReloadResult> {
    const { standby = () => undefined, onEvent } = this.#options
    const work = reloadInTurn(this.#group, ids, { standby, onEvent, ...more })
    this.#reloads.add(work)
    try {
      return await work
    } finally {
      this.#reloads.delete(work)
    }
  }

  retire(ids: readonly string[]): Promise<void> {
    return stopThese(this.#group, ids, { reason: 'it is no part of the ecosystem any more', forGood: true })
  }

  stop(reason: string): Promise<void> {
    return (this.#stopped ??= this.#stop(reason))
  }

  async #stop(reason: string): Promise<void> {
    this.#group.stopping()
    await stopAll(this.#group, reason)
    await Promise.allSettled(this.#reloads)
    await Promise.all([...this.processes.values()].map((each) => each.endRetiring()))
  }

  kill(): void {
    for (const each of this.processes.values()) each.kill()
  }

  get #ids(): string[] {
    return [...this.processes.keys()]
  }
}
