import type { Plan } from '../plan/plan.ts'
import { OrchestratorError } from '../errors.ts'
import type { EcosystemEvent } from './events.ts'
import { isAlive, isSatisfied, type ProcessTransition } from './process-machine.ts'
import { stopOrder } from './stop-order.ts'
import {
  createSupervisedProcess,
  type SupervisedProcess,
  type SupervisedProcessOptions,
} from './supervised-process.ts'

export interface SupervisorOptions extends Pick<
  SupervisedProcessOptions,
  'channels' | 'clock' | 'guardian' | 'run'
> {
  readonly plan: Plan
  readonly logs: ReadonlyMap<string, SupervisedProcess['log']>
  readonly ports: ReadonlyMap<string, Readonly<Record<string, number>>>
  readonly environment: (id: string) => Readonly<Record<string, string>>
  readonly onEvent: (event: EcosystemEvent) => void
  /** A critical process is past its budget. */
  readonly onEscalated: (id: string, reason: string) => void
}

/** All processes of a plan: what each waits for, what falls with it, and in which order they stop. */
export interface Supervisor {
  readonly processes: ReadonlyMap<string, SupervisedProcess>
  start(): void
  /** Resolves when nothing changes any more by itself: all are ready, completed, failed, or wait for one that failed. */
  settled(signal?: AbortSignal): Promise<void>
  /**
   * Restarts an app, a process or one instance.
   *
   * @throws OrchestratorError `ERR_ORCHESTRATOR_UNKNOWN_PROCESS`
   */
  restart(name: string, signal?: AbortSignal): Promise<readonly string[]>
  /** Stops everything in order. Idempotent. */
  stop(reason: string): Promise<void>
  /** Ends everything at once. */
  kill(): void
}

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { plan, onEvent } = options
  const processes = new Map<string, SupervisedProcess>()
  const watchers = new Set<() => void>()
  /** Held back while others that are to restart with them have not stopped yet. */
  const held = new Set<string>()
  let stopping: Promise<void> | undefined

  for (const planned of plan.processes) {
    const log = options.logs.get(planned.id)
    if (!log) throw new TypeError(`There is no log for ${planned.id}.`)
    const { id } = planned
    const supervised = createSupervisedProcess({
      planned,
      supervision: plan.supervision,
      log,
      clock: options.clock,
      channels: options.channels,
      guardian: options.guardian,
      run: options.run,
      ports: options.ports.get(id) ?? {},
      environment: () => options.environment(id),
      onChange: (transition) => changed(id, transition),
      onCrash: () => void restartOthers(id),
      onExhausted: (reason) => exhausted(id, reason),
    })
    processes.set(id, supervised)
  }

  function changed(id: string, transition: ProcessTransition): void {
    onEvent({ type: 'process', at: options.clock.now(), id, ...transition })
    // Effects must not call back into a machine that is in the middle of an event.
    queueMicrotask(() => {
      updateGates()
      for (const watcher of Array.from(watchers)) watcher()
    })
  }

  function updateGates(): void {
    for (const [id, { planned, machine }] of processes) {
      const open =
        stopping === undefined &&
        !held.has(id) &&
        planned.dependsOn.every((group) => group.some((other) => isSatisfied(get(other).machine.phase)))
      machine.send({ type: 'gate', open })
    }
  }

  function get(id: string): SupervisedProcess {
    const found = processes.get(id)
    if (!found) throw new TypeError(`There is no process ${id}.`)
    return found
  }

  function exhausted(id: string, reason: string): void {
    if (!get(id).planned.critical || stopping) return
    onEvent({ type: 'escalated', id, reason })
    options.onEscalated(id, reason)
  }

  /** What the strategy restarts together with a process that crashed. Tasks and the gateway are no part of it. */
  async function restartOthers(crashed: string): Promise<void> {
    const { strategy } = plan.supervision
    if (strategy === 'one_for_one' || held.has(crashed)) return
    const apps = plan.apps.map((app) => app.name)
    const from = strategy === 'one_for_all' ? 0 : apps.indexOf(get(crashed).planned.app)
    const affected = plan.processes.filter(
      (each) =>
        each.id !== crashed &&
        each.kind === 'service' &&
        apps.indexOf(each.app) >= from &&
        isAlive(get(each.id).machine.phase),
    )
    await restartTogether(
      affected.map((each) => each.id),
      [crashed],
      `${crashed} crashed (${strategy})`,
    )
  }

  /** Stops them in order, dependents first, and lets them and those that wait for them start again. */
  async function restartTogether(
    ids: readonly string[],
    waiting: readonly string[],
    reason: string,
  ): Promise<void> {
    const holding = [...ids, ...waiting]
    for (const id of holding) held.add(id)
    updateGates()
    try {
      for (const step of stopOrder(ids.map((id) => get(id).planned))) {
        for (const id of step) get(id).machine.send({ type: 'restart', reason })
        await until(() => step.every((id) => get(id).machine.phase !== 'stopping'))
      }
    } finally {
      for (const id of holding) held.delete(id)
      updateGates()
    }
  }

  function until(condition: () => boolean, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    return new Promise((resolve, reject) => {
      const check = (): void => {
        if (signal?.aborted) finish(() => reject(signal.reason as Error))
        else if (condition()) finish(resolve)
      }
      const finish = (end: () => void): void => {
        watchers.delete(check)
        signal?.removeEventListener('abort', check)
        end()
      }
      watchers.add(check)
      signal?.addEventListener('abort', check)
      check()
    })
  }

  /** Ready, failed, or waiting for what will not come. */
  function isSettled(id: string, trail: readonly string[] = []): boolean {
    const { machine, planned } = get(id)
    const { phase } = machine
    if (isSatisfied(phase) || phase === 'failed' || phase === 'stopped' || phase === 'unhealthy') return true
    if (phase !== 'waiting' || trail.includes(id)) return false
    return planned.dependsOn.some((group) => group.every((other) => isLost(other, [...trail, id])))
  }

  function isLost(id: string, trail: readonly string[]): boolean {
    const { phase } = get(id).machine
    return phase === 'failed' || phase === 'stopped' || (phase === 'waiting' && isSettled(id, trail))
  }

  function select(name: string): string[] {
    const found = plan.processes.filter(
      (each) =>
        each.kind === 'service' &&
        (each.app === name || each.id === name || `${each.app}/${each.process}` === name),
    )
    if (found.length > 0) return found.map((each) => each.id)
    const names = [
      ...new Set(
        plan.processes.filter((each) => each.kind === 'service').flatMap((each) => [each.app, each.id]),
      ),
    ]
    throw new OrchestratorError(`There is no app or process "${name}". There are: ${names.join(', ')}.`, {
      code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS',
      kind: 'not-found',
    })
  }

  async function stopAll(reason: string): Promise<void> {
    updateGates()
    // What waits or has failed has nothing to stop, and must not start in between.
    for (const { machine } of processes.values())
      if (!isAlive(machine.phase)) machine.send({ type: 'stop', reason })
    for (const step of stopOrder(plan.processes)) {
      for (const id of step) get(id).machine.send({ type: 'stop', reason })
      await until(() => step.every((id) => get(id).machine.phase === 'stopped'))
    }
  }

  return {
    processes,
    start() {
      for (const { machine } of processes.values()) machine.send({ type: 'start' })
      updateGates()
    },
    settled: (signal) => until(() => [...processes.keys()].every((id) => isSettled(id)), signal),
    async restart(name, signal) {
      const ids = select(name)
      await restartTogether(ids, [], 'restart')
      await until(() => ids.every((id) => isSettled(id)), signal)
      return ids
    },
    stop(reason) {
      if (!stopping) {
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        stopping = promise
        stopAll(reason).then(resolve, reject)
      }
      return stopping
    },
    kill() {
      for (const each of processes.values()) each.kill()
    },
  }
}
