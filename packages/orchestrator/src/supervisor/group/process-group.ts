import type { Plan } from '../../plan/plan.ts'
import { isSatisfied, type ProcessTransition } from '../process-machine.ts'
import type { SupervisedProcess } from '../supervised-process.ts'
import type { SupervisorClock } from '../timers.ts'

/** The processes of a plan, each of which starts when what it depends on is ready. */
export interface ProcessGroup {
  readonly plan: Plan
  readonly processes: ReadonlyMap<string, SupervisedProcess>
  readonly clock: SupervisorClock
  /** Everything stops: nothing starts any more. */
  readonly isStopping: boolean
  get(id: string): SupervisedProcess
  add(process: SupervisedProcess): void
  /** A process has changed its phase. */
  changed(id: string, transition: ProcessTransition): void
  /** Does not let these start until the result is disposed of. */
  hold(ids: readonly string[]): Disposable
  isHeld(id: string): boolean
  /** An unhealthy process may still become ready by itself. */
  mayRecover(id: string): boolean
  /** Something else that is waited for with `until` has changed. */
  notify(): void
  /** Lets what may start now start. */
  updateGates(): void
  stopping(): void
  /** Resolves when a condition on the phases holds; rejects when the signal aborts. */
  until(condition: () => boolean, signal?: AbortSignal): Promise<void>
}

/** How long those that wait for an unhealthy process believe that it recovers, in milliseconds. */
const recoveryTime = 10_000

export function createProcessGroup(plan: Plan, clock: SupervisorClock): ProcessGroup {
  const processes = new Map<string, SupervisedProcess>()
  const watchers = new Set<() => void>()
  const holds = new Set<readonly string[]>()
  /** Until when an unhealthy process is worth waiting for, by the monotonic clock. */
  const recoverBy = new Map<string, number>()
  let isStopping = false

  const get = (id: string): SupervisedProcess => {
    const found = processes.get(id)
    if (!found) throw new TypeError(`There is no process ${id}.`)
    return found
  }
  const isHeld = (id: string): boolean => [...holds].some((ids) => ids.includes(id))
  const isReady = (id: string): boolean => isSatisfied(get(id).machine.phase)

  function updateGates(): void {
    for (const [id, { planned, machine }] of processes) {
      const mayStart = !isStopping && !isHeld(id)
      machine.send({
        type: 'gate',
        open: mayStart && planned.dependsOn.every((group) => group.some(isReady)),
      })
    }
  }

  function notify(): void {
    for (const watcher of Array.from(watchers)) watcher()
  }

  return {
    plan,
    processes,
    clock,
    get isStopping() {
      return isStopping
    },
    get,
    add: (process) => void processes.set(process.planned.id, process),
    changed(id, { to }) {
      if (to === 'unhealthy') {
        recoverBy.set(id, clock.monotonic() + recoveryTime)
        clock.setTimeout(notify, recoveryTime)
      }
      // Effects must not call back into a machine that is in the middle of an event.
      queueMicrotask(() => {
        updateGates()
        notify()
      })
    },
    hold(ids) {
      const held = [...ids]
      holds.add(held)
      updateGates()
      return {
        [Symbol.dispose]() {
          holds.delete(held)
          updateGates()
        },
      }
    },
    isHeld,
    mayRecover: (id) => clock.monotonic() < (recoverBy.get(id) ?? 0),
    notify,
    updateGates,
    stopping() {
      isStopping = true
      updateGates()
    },
    until(condition, signal) {
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
    },
  }
}
