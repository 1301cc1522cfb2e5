import { isOver } from '../../running/process-phase.ts'
import { isAlive } from '../process-machine.ts'
import { stopOrder } from '../stop-order.ts'
import type { ProcessGroup } from './process-group.ts'

/** Stops what is left of an app that failed, in order. It can be started again with `restart`. */
export async function stopApp(group: ProcessGroup, app: string, reason: string): Promise<void> {
  for (const step of stopOrder(group.plan.processes.filter((each) => each.app === app))) {
    const running = step.filter((id) => !isOver(group.get(id).machine.phase))
    if (group.isStopping) return
    for (const id of running) group.get(id).machine.send({ type: 'stop', reason })
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
