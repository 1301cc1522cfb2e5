import { isDeepStrictEqual } from 'node:util'
import { OrchestratorError } from '../errors.ts'
import type { Plan, PlannedApp, PlannedProcess } from '../plan/plan.ts'
import type { PlanChanges, ProcessChange } from '../running/plan-changes.ts'
import { differencesOf, type StartedWith } from './started-with.ts'

export interface ChangesInput {
  readonly running: Plan
  readonly next: Plan
  /** What a process is started with under one of the plans. */
  readonly startedWith: (plan: Plan, id: string) => StartedWith
}

/**
 * Compares two plans of an ecosystem.
 *
 * @throws OrchestratorError when the next one cannot take the place of the one that runs.
 */
export function findChanges(input: ChangesInput): PlanChanges {
  const { running, next } = input
  assertApplicable(running, next)
  const before = new Map(running.processes.map((each) => [each.id, each]))
  const after = new Map(next.processes.map((each) => [each.id, each]))
  const common = [...after.keys()].filter((id) => before.has(id))
  const reloaded = common.flatMap((id) => changeOf(id, startDifferences(id, input)))
  const isReloaded = new Set(reloaded.map(({ id }) => id))
  return {
    started: [...after.keys()].filter((id) => !before.has(id)),
    stopped: [...before.keys()].filter((id) => !after.has(id)),
    reloaded,
    supervised: common
      .filter((id) => !isReloaded.has(id))
      .flatMap((id) => changeOf(id, supervisedDifferences(before.get(id), after.get(id)))),
    settings: (['supervision', 'metrics', 'logging'] as const).filter(
      (name) => !isDeepStrictEqual(running[name], next[name]),
    ),
  }
}

function changeOf(id: string, because: readonly string[]): ProcessChange[] {
  return because.length === 0 ? [] : [{ id, because }]
}

function startDifferences(id: string, { running, next, startedWith }: ChangesInput): string[] {
  // A migration runs whenever a supervisor starts.
  if (next.processes.find((each) => each.id === id)?.kind === 'task') return []
  // What it requires is made when it is applied, and not to be looked at.
  if (!isDeepStrictEqual(requirementsOf(running, id), requirementsOf(next, id))) return ['requires']
  return differencesOf(startedWith(running, id), startedWith(next, id))
}

function requirementsOf({ apps, processes }: Plan, id: string): PlannedApp['requires'] | undefined {
  const app = processes.find((each) => each.id === id)?.app
  return apps.find(({ name }) => name === app)?.requires
}

/** What only the supervisor needs to know. */
const supervisedKeys = [
  'dependsOn',
  'stopsBefore',
  'critical',
  'restartsForever',
  'stopTimeout',
  'stopPriority',
  'health',
] as const

function supervisedDifferences(
  before: PlannedProcess | undefined,
  after: PlannedProcess | undefined,
): string[] {
  return supervisedKeys.filter((key) => !isDeepStrictEqual(before?.[key], after?.[key]))
}

function assertApplicable(running: Plan, next: Plan): void {
  if (next.project !== running.project)
    throw refuse(`it is of the project "${next.project}", and "${running.project}" runs`)
  for (const name of ['postgres', 'redis'] as const) {
    if (!isDeepStrictEqual(running[name], next[name]))
      throw refuse(`infrastructure.${name} is another one, and apps would lose theirs`)
    if (isRequired(running, name) && !isRequired(next, name)) throw refuse(`no app requires ${name} any more`)
  }
}

function isRequired({ apps }: Plan, name: 'postgres' | 'redis'): boolean {
  return apps.some((app) => app.requires[name])
}

function refuse(reason: string): OrchestratorError {
  return new OrchestratorError(
    `The ecosystem file cannot be applied while everything runs: ${reason}. "quintet down" and "quintet up" do that.`,
    { code: 'ERR_ORCHESTRATOR_CONFIG_INVALID', kind: 'conflict' },
  )
}
