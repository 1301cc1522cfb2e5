import { OrchestratorError } from '../../errors.ts'
import type { ProcessPhase } from '../../running/process-phase.ts'
import { isSatisfied } from '../process-machine.ts'
import type { ProcessGroup } from './process-group.ts'

/** Ready, or not to be waited for. */
export function isSettled(group: ProcessGroup, id: string): boolean {
  const { phase } = group.get(id).machine
  return isSatisfied(phase) || phase === 'unhealthy' || isLost(group, id, [])
}

/** It will not become ready soon: failed, past its budget, stopped, unhealthy for a while, or waiting for one of these. */
function isLost(group: ProcessGroup, id: string, trail: readonly string[]): boolean {
  const { machine, planned } = group.get(id)
  const { phase } = machine
  if (phase === 'failed' || phase === 'stopped' || machine.exhausted) return true
  if (phase === 'unhealthy') return !group.mayRecover(id)
  if (phase !== 'waiting' || trail.includes(id)) return false
  return planned.dependsOn.some((any) => any.every((other) => isLost(group, other, [...trail, id])))
}

/** @throws Error when something that a process depends on does not become ready. */
export async function whenNeedsAreReady(group: ProcessGroup, id: string): Promise<void> {
  const needs = group.get(id).planned.dependsOn.flat()
  await group.until(() => [id, ...needs].every((each) => isSettled(group, each)))
  const missing = waitingFor(group, id)
  if (missing.length > 0)
    throw new Error(`it waits for ${missing.map((other) => describe(group, other)).join(', ')}`)
}

/** @throws OrchestratorError saying why, when one of them has settled without having started. */
export function assertStarted(group: ProcessGroup, ids: readonly string[]): void {
  const missing = ids.filter((id) => !hasStarted(group.get(id).machine.phase))
  if (missing.length === 0) return
  const reasons = missing.map((id) => describeMissing(group, id)).join('; ')
  throw new OrchestratorError(`It was not started. ${reasons}. See "quintet logs".`, {
    code: group.isStopping ? 'ERR_ORCHESTRATOR_NOT_RUNNING' : 'ERR_ORCHESTRATOR_START_FAILED',
    kind: 'unavailable',
  })
}

function hasStarted(phase: ProcessPhase): boolean {
  return isSatisfied(phase) || phase === 'unhealthy'
}

function describeMissing(group: ProcessGroup, id: string): string {
  const { phase, lastFailure } = group.get(id).machine
  const needs = phase === 'waiting' ? waitingFor(group, id) : []
  if (needs.length === 0) return `${id} ${phase}: ${lastFailure ?? ''}`
  return `${id} waits for ${needs.map((other) => describe(group, other)).join(', ')}`
}

function waitingFor(group: ProcessGroup, id: string): string[] {
  const isReady = (other: string): boolean => isSatisfied(group.get(other).machine.phase)
  return group
    .get(id)
    .planned.dependsOn.filter((any) => !any.some(isReady))
    .flat()
}

function describe(group: ProcessGroup, id: string): string {
  const { phase, lastFailure } = group.get(id).machine
  return phase === 'failed' ? `${id}, which failed (${lastFailure})` : `${id} (${phase})`
}

/** @throws OrchestratorError when everything stops. */
export function assertRunning(group: ProcessGroup): void {
  if (group.isStopping) throw stoppingError()
}

export function stoppingError(): OrchestratorError {
  return new OrchestratorError('The ecosystem is stopping: nothing is started any more.', {
    code: 'ERR_ORCHESTRATOR_NOT_RUNNING',
    kind: 'conflict',
  })
}
