import { sendCommand } from '../../../control/control-client.ts'
import { isCode, OrchestratorError } from '../../../errors.ts'
import { createLineFilter } from '../../../logs/line-filter.ts'
import { messageOf, timeOfLine } from '../../../logs/log-entry.ts'
import { lastLines } from '../../../logs/past-lines.ts'
import type { Plan, PlannedProcess } from '../../../plan/plan.ts'
import type { EcosystemStatus, ProcessStatus } from '../../../running/ecosystem-status.ts'
import { logFile } from '../../../state/state-directory.ts'
import { simulateBudget } from '../../../supervisor/simulate-budget.ts'
import { formatDuration } from '../../../terminal/units.ts'
import { loadContext, print, type CommonOptions, type LoadedContext } from '../context.ts'
import { explainError, isErrorCode } from './explain-error.ts'

/** How many of its latest changes of state are shown. */
const shownChanges = 10

/** How many of the waits before a new start are shown. */
const shownWaits = 8

/** Says why a process is as it is, what it hangs on and what happens when it crashes; or what an error code means. */
export async function explain(what: string, options: CommonOptions): Promise<void> {
  if (isErrorCode(what)) {
    const found = await explainError(what, options)
    return print(
      options,
      found,
      ({ code, package: name, kind, when }) => `${code} (${name}, ${kind})\n${when}`,
    )
  }
  const context = await loadContext(options)
  const planned = context.plan.processes.find(({ id }) => id === what)
  if (!planned) throw unknown(what, context.plan)
  const status = await statusOf(context)
  const current = status?.processes.find(({ id }) => id === what)
  const explanation = {
    id: what,
    phase: current?.phase ?? null,
    why: [...describeState(current, status), ...describePlan(planned, context.plan)],
    changes: await changesOf(what, context),
  }
  print(options, explanation, ({ id, phase, why, changes }) =>
    [
      phase === null ? id : `${id} is ${phase}`,
      ...why.map((each) => `- ${each}`),
      ...(changes.length === 0 ? [] : ['', 'Its latest changes:', ...changes]),
    ].join('\n'),
  )
}

async function statusOf({ state }: LoadedContext): Promise<EcosystemStatus | undefined> {
  try {
    return (await sendCommand(state.root, { command: 'status' })) as EcosystemStatus
  } catch (error) {
    if (isCode(error, 'ERR_ORCHESTRATOR_NOT_RUNNING')) return undefined
    throw error
  }
}

function describeState(
  current: ProcessStatus | undefined,
  status: EcosystemStatus | undefined,
): readonly string[] {
  if (!status) return ['The ecosystem does not run.']
  if (!current) return ['What runs was started without it: stop it, and start it again.']
  const waits = current.waitingFor.map((id) => {
    const other = status.processes.find((each) => each.id === id)
    const reason = other?.lastFailure ? ` (${firstLine(other.lastFailure)})` : ''
    return `It waits for ${id}, which is ${other?.phase}${reason}.`
  })
  const failing = Object.entries(current.health?.checks ?? {}).filter(([, check]) => check.status === 'fail')
  return [
    `For ${formatDuration(Date.now() - current.since)}.`,
    ...waits,
    ...failing.map(([name, { detail }]) => `Its health check ${name} fails${detail ? `: ${detail}` : ''}.`),
    ...(current.lastFailure === null ? [] : [`Why it ended the last time: ${current.lastFailure}`]),
    ...(current.restarts === 0 ? [] : [`It was started again after a crash, ${current.restarts} times.`]),
  ]
}

function describePlan(planned: PlannedProcess, plan: Plan): readonly string[] {
  const users = plan.processes.filter(({ dependsOn }) => dependsOn.flat().includes(planned.id))
  const needs = planned.dependsOn.map((group) => group.join(' or '))
  return [
    ...(needs.length === 0
      ? []
      : [`It starts when ${needs.join(' and ')} ${needs.length === 1 ? 'is' : 'are'} ready.`]),
    ...(users.length === 0 ? [] : [`What waits for it: ${users.map(({ id }) => id).join(', ')}.`]),
    describeCrash(planned, plan),
  ]
}

function describeCrash(planned: PlannedProcess, plan: Plan): string {
  if (planned.kind === 'task')
    return `When it fails it is not tried again by itself: "quintet restart ${planned.app}" is a new try.`
  const { delays, givenUp } = simulateBudget(plan.supervision)
  const waits = delays.slice(0, shownWaits).map((delay) => `${delay / 1_000} s`)
  const more = delays.length > shownWaits ? ', …' : ''
  const again = `If it crashes in each start it is started again after ${waits.join(', ')}${more}`
  if (planned.restartsForever) return `${again}, and for ever.`
  if (givenUp === null) return `${again}, for ever.`
  return `${again}; crash ${givenUp.crashes}, after ${formatDuration(givenUp.afterMs)}, is one too many: then ${consequence(planned, plan)}.`
}

function consequence(planned: PlannedProcess, plan: Plan): string {
  if (!planned.critical) return 'it fails alone'
  return plan.apps.find(({ name }) => name === planned.app)?.critical
    ? 'everything stops, for it and its app are critical'
    : `the app "${planned.app}" fails with it, for it is critical`
}

async function changesOf(id: string, { state }: LoadedContext): Promise<string[]> {
  const isNote = createLineFilter({ grep: /"stream":"supervisor"/ })
  const lines = await lastLines(logFile(state, id), shownChanges, isNote)
  return lines.map((line) => {
    const time = timeOfLine(line)
    return `${time === undefined ? '-' : new Date(time).toISOString()}  ${firstLine(messageOf(line))}`
  })
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? ''
}

function unknown(name: string, plan: Plan): OrchestratorError {
  return new OrchestratorError(
    `There is no process "${name}", and it is no error code. Processes: ${plan.processes.map(({ id }) => id).join(', ')}.`,
    { code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS', kind: 'not-found' },
  )
}
