import type { Plan } from '../plan/plan.ts'
import { isNamed } from '../running/is-named.ts'
import type { ReloadResult, RestartCause, RestartOptions } from '../running/running-ecosystem.ts'
import { OrchestratorError } from '../errors.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'
import { isAlive, isSatisfied, isServing, type ProcessTransition } from './process-machine.ts'
import { isOver, type ProcessPhase } from '../running/process-phase.ts'
import { stopOrder } from './stop-order.ts'
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
  /** The path that the private sockets of a new generation of a process begin with; undefined when it cannot have one beside the old. */
  readonly standby?: (id: string) => string | undefined
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
  /** Stops everything in order. Idempotent. */
  stop(reason: string): Promise<void>
  /** Ends everything at once. */
  kill(): void
}

/** How long those that wait for an unhealthy process believe that it recovers, in milliseconds. */
const recoveryTime = 10_000

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { plan, onEvent, clock } = options
  const processes = new Map<string, SupervisedProcess>()
  const watchers = new Set<() => void>()
  /** Held back while others that are to restart with them have not stopped yet. */
  const held = new Set<string>()
  /** Until when an unhealthy process is worth waiting for, by the monotonic clock. */
  const recoverBy = new Map<string, number>()
  /** Reloads in progress. */
  const reloads = new Set<Promise<unknown>>()
  let stopping: Promise<void> | undefined

  for (const planned of plan.processes) {
    const log = options.logs.get(planned.id)
    if (!log) throw new TypeError(`There is no log for ${planned.id}.`)
    const { id } = planned
    const supervised = createSupervisedProcess({
      planned,
      supervision: plan.supervision,
      log,
      clock,
      channels: options.channels,
      guardian: options.guardian,
      mark: options.mark,
      ...(options.spawn ? { spawn: options.spawn } : {}),
      ports: options.ports.get(id) ?? {},
      adopted: options.adopted?.get(id),
      environment: () => options.environment(id),
      onChange: (transition) => changed(id, transition),
      onCrash: () => void restartOthers(id),
      onExhausted: (reason) => exhausted(id, reason),
    })
    processes.set(id, supervised)
  }

  function changed(id: string, transition: ProcessTransition): void {
    onEvent({ type: 'process', at: clock.now(), id, ...transition })
    if (transition.to === 'unhealthy') {
      recoverBy.set(id, clock.monotonic() + recoveryTime)
      clock.setTimeout(notify, recoveryTime)
    }
    // Effects must not call back into a machine that is in the middle of an event.
    queueMicrotask(() => {
      updateGates()
      notify()
    })
  }

  function notify(): void {
    for (const watcher of Array.from(watchers)) watcher()
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

  /** A process that is not critical fails alone, a critical one with its app, and a critical app with everything. */
  function exhausted(id: string, reason: string): void {
    const { planned } = get(id)
    if (!planned.critical || stopping) return
    const app = plan.apps.find((each) => each.name === planned.app)
    const level = app?.critical ? 'platform' : 'app'
    onEvent({ type: 'escalated', id, level, reason })
    if (level === 'platform') options.onEscalated(id, reason)
    else void stopApp(planned.app, `${id} failed`)
  }

  /** Stops what is left of an app that failed, in order. It can be started again with `restart`. */
  async function stopApp(app: string, reason: string): Promise<void> {
    const members = plan.processes.filter((each) => each.app === app)
    for (const step of stopOrder(members)) {
      const running = step.filter((id) => !isOver(get(id).machine.phase))
      if (stopping) return
      for (const id of running) get(id).machine.send({ type: 'stop', reason })
      await until(() => running.every((id) => get(id).machine.phase !== 'stopping'))
    }
  }

  /** What the strategy restarts together with a process that crashed. Tasks and the gateway are no part of it. */
  async function restartOthers(crashed: string): Promise<void> {
    const { strategy } = plan.supervision
    const { planned } = get(crashed)
    if (strategy === 'one_for_one' || held.has(crashed) || planned.kind === 'task') return
    const apps = plan.apps.map((app) => app.name)
    const position = apps.indexOf(planned.app)
    if (position === -1) return
    const from = strategy === 'one_for_all' ? 0 : position
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
    cause: RestartCause = 'restart',
  ): Promise<void> {
    const holding = [...ids, ...waiting]
    for (const id of holding) held.add(id)
    updateGates()
    try {
      for (const step of stopOrder(ids.map((id) => get(id).planned))) {
        if (stopping) return
        for (const id of step) get(id).machine.send({ type: 'restart', reason, cause })
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

  /** Ready, or not to be waited for. */
  function isSettled(id: string): boolean {
    const { phase } = get(id).machine
    return isSatisfied(phase) || phase === 'unhealthy' || isLost(id, [])
  }

  /** It will not become ready soon: failed, past its budget, stopped, unhealthy for a while, or waiting for one of these. */
  function isLost(id: string, trail: readonly string[]): boolean {
    const { machine, planned } = get(id)
    const { phase } = machine
    if (phase === 'failed' || phase === 'stopped' || machine.exhausted) return true
    if (phase === 'unhealthy') return clock.monotonic() >= (recoverBy.get(id) ?? 0)
    if (phase !== 'waiting' || trail.includes(id)) return false
    return planned.dependsOn.some((group) => group.every((other) => isLost(other, [...trail, id])))
  }

  function select(name: string): string[] {
    const found = plan.processes.filter((each) =>
      each.kind === 'task' ? each.id === name : isNamed(each.id, name),
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

  function byInstance(ids: readonly string[]): string[][] {
    // What does not run has no callers: it starts at once.
    const rounds = Map.groupBy(ids, (id) => (isAlive(get(id).machine.phase) ? get(id).planned.instance : 0))
    return [...rounds].toSorted(([a], [b]) => a - b).map(([, members]) => members)
  }

  /** The tasks of the apps named that failed, or did not get their turn: a restart of the app is a new try. */
  function unfinishedTasks(ids: readonly string[]): string[] {
    const apps = new Set(ids.map((id) => get(id).planned.app))
    return plan.processes
      .filter((each) => each.kind === 'task' && apps.has(each.app) && isOver(get(each.id).machine.phase))
      .filter((each) => get(each.id).machine.phase !== 'completed')
      .map((each) => each.id)
  }

  async function reloadOne(id: string): Promise<'reloaded' | 'restarted'> {
    const { machine, planned } = get(id)
    const standby = planned.standby && isServing(machine.phase) ? options.standby?.(id) : undefined
    if (standby === undefined) {
      await restartTogether([id], [], 'it is reloaded', 'deployment')
      await until(() => isSettled(id))
      if (!hasStarted(machine.phase)) throw notStarted([id])
      return 'restarted'
    }
    await get(id).reload(standby)
    return 'reloaded'
  }

  async function reload(ids: readonly string[]): Promise<ReloadResult> {
    const done = { reloaded: [] as string[], restarted: [] as string[] }
    for (const id of ids) {
      const tell = (state: 'begun' | 'done' | 'failed', reason: string): void =>
        onEvent({ type: 'reload', id, state, reason })
      if (stopping) return { ...done, failed: { id, reason: isStopping().message } }
      tell('begun', 'it is reloaded')
      try {
        const how = await reloadOne(id)
        done[how].push(id)
        tell('done', `it was ${how}`)
      } catch (error) {
        const { message: reason } = error as Error
        tell('failed', reason)
        return { ...done, failed: { id, reason } }
      }
    }
    return { ...done, failed: null }
  }

  function notStarted(ids: readonly string[]): OrchestratorError {
    const reasons = ids.map((id) => {
      const { phase, lastFailure } = get(id).machine
      const needs = phase === 'waiting' ? waitingFor(id).map((other) => describe(other)) : []
      return needs.length > 0 ? `${id} waits for ${needs.join(', ')}` : `${id} ${phase}: ${lastFailure ?? ''}`
    })
    return new OrchestratorError(`It was not started. ${reasons.join('; ')}. See "quintet logs".`, {
      code: stopping ? 'ERR_ORCHESTRATOR_NOT_RUNNING' : 'ERR_ORCHESTRATOR_START_FAILED',
      kind: 'unavailable',
    })
  }

  function describe(id: string): string {
    const { phase, lastFailure } = get(id).machine
    return phase === 'failed' ? `${id}, which failed (${lastFailure})` : `${id} (${phase})`
  }

  function waitingFor(id: string): string[] {
    return get(id)
      .planned.dependsOn.filter((group) => !group.some((other) => isSatisfied(get(other).machine.phase)))
      .flat()
  }

  async function stopAll(reason: string): Promise<void> {
    updateGates()
    // What waits or has failed has nothing to stop, and must not start in between.
    for (const { machine } of processes.values())
      if (!isAlive(machine.phase)) machine.send({ type: 'stop', reason, forGood: true })
    for (const step of stopOrder(plan.processes)) {
      for (const id of step) get(id).machine.send({ type: 'stop', reason, forGood: true })
      await until(() => step.every((id) => get(id).machine.phase === 'stopped'))
    }
    await Promise.allSettled(reloads)
    await Promise.all([...processes.values()].map((each) => each.endRetiring()))
  }

  return {
    processes,
    start() {
      const { adopted } = options
      for (const [id, { machine }] of processes) {
        const found = adopted?.get(id)
        machine.send(found ? { type: 'adopt', stopping: found.stopping ?? false } : { type: 'start' })
      }
      updateGates()
      const stale = [...processes.keys()].filter((id) => adopted?.get(id)?.isStale)
      if (stale.length > 0) void restartTogether(stale, [], 'it is to run with something else', 'deployment')
    },
    settled: (signal) => until(() => [...processes.keys()].every((id) => isSettled(id)), signal),
    async restart(name, { signal, cause = 'restart' } = {}) {
      const ids = select(name)
      if (stopping) throw isStopping()
      const tasks = unfinishedTasks(ids)
      // One instance of each process at a time: the others go on serving.
      for (const [round, members] of byInstance(ids).entries()) {
        const together = round === 0 ? [...new Set([...tasks, ...members])] : members
        await restartTogether(together, [], cause, cause)
        await until(() => members.every((id) => isSettled(id)), signal)
        const missing = members.filter((id) => !hasStarted(get(id).machine.phase))
        if (missing.length > 0) throw notStarted(missing)
      }
      return ids
    },
    async reload(name) {
      const wanted = name === undefined ? [...processes.keys()] : select(name)
      if (stopping) throw isStopping()
      const work = reload(wanted.filter((id) => get(id).planned.kind === 'service'))
      reloads.add(work)
      try {
        return await work
      } finally {
        reloads.delete(work)
      }
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

function hasStarted(phase: ProcessPhase): boolean {
  return isSatisfied(phase) || phase === 'unhealthy'
}

function isStopping(): OrchestratorError {
  return new OrchestratorError('The ecosystem is stopping: nothing is started any more.', {
    code: 'ERR_ORCHESTRATOR_NOT_RUNNING',
    kind: 'conflict',
  })
}
