import { isOver } from '../../running/process-phase.ts'
import { isAlive } from '../process-machine.ts'
import { stopOrder } from '../stop-order.ts'
import type { ProcessGroup } from './process-group.ts'

/** Stops what is left of some processes, dependents first. They can be started again with `restart`, unless it is for good. */
export async function stopThese(
  group: ProcessGroup,
  ids: readonly string[],
  why: { readonly reason: string; readonly forGood?: boolean },
): Promise<void> {
  for (const step of stopOrder(ids.map((id) => group.get(id).planned))) {
    const running = step.filter((id) => !isOver(group.get(id).machine.phase))
    if (group.isStopping) return
    for (const id of running) group.get(id).machine.send({ type: 'stop', ...why })
    await group.until(() => running.every((id) => group.get(id).machine.phase !== 'stopping'))
  }
}

/** Stops everything in order, for good. */
export async function stopAll(group: ProcessGroup, reason: string): Promise<void> {
  // What waits or has failed has nothing to stop, and must not start in between.
  for (const { machine } of group.processes.values())
    if (!isAlive(machine.phase)) machine.send({ type: 'stop', reason, forGood: true })
  for (const step of stopOrder(group.plan.processes)) {
    for (const id of step) group.get(id).machine.send({ type: 'stop', reason, forGood: true })
    await group.until(() => step.every((id) => group.get(id).machine.phase === 'stopped'))
  }
}
