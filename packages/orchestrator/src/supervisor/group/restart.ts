import type { RestartCause, RestartOptions } from '../../running/running-ecosystem.ts'
import { isOver } from '../../running/process-phase.ts'
import { isAlive } from '../process-machine.ts'
import { stopOrder } from '../stop-order.ts'
import type { ProcessGroup } from './process-group.ts'
import { assertRunning, assertStarted, isSettled } from './settled.ts'

/** One instance of each process at a time: the others go on serving. Resolves when all have started. */
export async function restartInRounds(
  group: ProcessGroup,
  ids: readonly string[],
  { signal, cause = 'restart' }: RestartOptions,
): Promise<void> {
  assertRunning(group)
  const tasks = unfinishedTasks(group, ids)
  for (const [round, members] of byInstance(group, ids).entries()) {
    const together = round === 0 ? [...new Set([...tasks, ...members])] : members
    await restartTogether(group, together, { reason: cause, cause })
    await group.until(() => members.every((id) => isSettled(group, id)), signal)
    assertStarted(group, members)
  }
}

/** What the strategy restarts together with a process that crashed. Tasks and the gateway are no part of it. */
export async function restartOthers(group: ProcessGroup, crashed: string): Promise<void> {
  const { supervision, apps, processes } = group.plan
  const { planned } = group.get(crashed)
  if (supervision.strategy === 'one_for_one' || group.isHeld(crashed) || planned.kind === 'task') return
  const names = apps.map((app) => app.name)
  const position = names.indexOf(planned.app)
  if (position === -1) return
  const from = supervision.strategy === 'one_for_all' ? 0 : position
  const affected = processes.filter(
    ({ id, kind, app }) =>
      id !== crashed &&
      kind === 'service' &&
      names.indexOf(app) >= from &&
      isAlive(group.get(id).machine.phase),
  )
  // The one that crashed waits until the others have stopped.
  using _held = group.hold([crashed])
  await restartTogether(
    group,
    affected.map(({ id }) => id),
    { reason: `${crashed} crashed (${supervision.strategy})` },
  )
}

/** Stops them in order, dependents first, and lets them and those that wait for them start again. */
export async function restartTogether(
  group: ProcessGroup,
  ids: readonly string[],
  { reason, cause = 'restart' }: { readonly reason: string; readonly cause?: RestartCause },
): Promise<void> {
  using _held = group.hold(ids)
  for (const step of stopOrder(ids.map((id) => group.get(id).planned))) {
    if (group.isStopping) return
    for (const id of step) group.get(id).machine.send({ type: 'restart', reason, cause })
    await group.until(() => step.every((id) => group.get(id).machine.phase !== 'stopping'))
  }
}

function byInstance(group: ProcessGroup, ids: readonly string[]): string[][] {
  // What does not run has no callers: it starts at once.
  const roundOf = (id: string): number => {
    const { machine, planned } = group.get(id)
    return isAlive(machine.phase) ? planned.instance : 0
  }
  const rounds = Map.groupBy(ids, roundOf)
  return [...rounds].toSorted(([a], [b]) => a - b).map(([, members]) => members)
}

/** The tasks of the apps named that failed, or did not get their turn: a restart of the app is a new try. */
function unfinishedTasks(group: ProcessGroup, ids: readonly string[]): string[] {
  const apps = new Set(ids.map((id) => group.get(id).planned.app))
  const isUnfinished = (id: string): boolean => {
    const { phase } = group.get(id).machine
    return isOver(phase) && phase !== 'completed'
  }
  return group.plan.processes
    .filter(({ id, kind, app }) => kind === 'task' && apps.has(app) && isUnfinished(id))
    .map(({ id }) => id)
}
