import type { Plan, PlannedProcess } from '../../../plan/plan.ts'
import { startOrder } from '../../../plan/start-order.ts'
import { stopOrder } from '../../../supervisor/stop-order.ts'
import { table } from '../../../terminal/table.ts'
import { loadContext, print, type CommonOptions } from '../context.ts'

interface Ordered {
  /** From 1. */
  readonly step: number
  readonly id: string
  readonly because: string
}

/** Prints in which order everything starts and stops, and why. Nothing is started. */
export async function showPlan(options: CommonOptions): Promise<void> {
  const { plan } = await loadContext(options)
  print(options, { start: startSteps(plan), stop: stopSteps(plan) }, ({ start, stop }) =>
    [
      table([['START', 'PROCESS', 'WHY'], ...start.map(toRow)]),
      table([['STOP', 'PROCESS', 'WHY'], ...stop.map(toRow)]),
    ].join('\n\n'),
  )
}

function toRow({ step, id, because }: Ordered): string[] {
  return [String(step), id, because]
}

function startSteps(plan: Plan): Ordered[] {
  return startOrder(plan.processes).flatMap((processes, index) =>
    processes.map((each) => ({ step: index + 1, id: each.id, because: startReason(each) })),
  )
}

function startReason({ dependsOn }: PlannedProcess): string {
  if (dependsOn.length === 0) return 'waits for nothing'
  return `when ${dependsOn.map(anyOf).join(' and ')} ${dependsOn.length === 1 ? 'is' : 'are'} ready`
}

function anyOf(group: readonly string[]): string {
  return group.length === 1 ? group.join() : `one of ${group.join(', ')}`
}

function stopSteps(plan: Plan): Ordered[] {
  return stopOrder(plan.processes).flatMap((ids, index) =>
    ids.map((id) => ({ step: index + 1, id, because: stopReason(id, plan) })),
  )
}

function stopReason(id: string, { processes }: Plan): string {
  const priority = processes.find((each) => each.id === id)?.stopPriority ?? 0
  const users = processes.filter((each) => each.dependsOn.flat().includes(id)).map((each) => each.id)
  const doors = processes.filter((each) => each.stopsBefore.includes(id)).map((each) => each.id)
  const reasons = [
    ...(users.length === 0
      ? []
      : [`after ${users.join(', ')}, which need${users.length === 1 ? 's' : ''} it`]),
    ...(doors.length === 0 ? [] : [`after ${doors.join(', ')}, which leads to it`]),
    ...(priority === 0 ? [] : [`shutdown.priority ${priority}`]),
  ]
  return reasons.length === 0 ? 'nothing needs it' : reasons.join('; ')
}
