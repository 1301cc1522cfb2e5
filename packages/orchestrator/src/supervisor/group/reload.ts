import type { EcosystemEvent } from '../../running/ecosystem-events.ts'
import type { ReloadResult } from '../../running/running-ecosystem.ts'
import { isServing } from '../process-machine.ts'
import type { ProcessGroup } from './process-group.ts'
import { restartTogether } from './restart.ts'
import { assertStarted, isSettled, stoppingError } from './settled.ts'

export interface ReloadInTurnOptions {
  /** The path that the private sockets of a new generation of a process begin with; undefined when it cannot have one beside the old. */
  readonly standby: (id: string) => string | undefined
  readonly onEvent: (event: EcosystemEvent) => void
  /** What comes before the reload of each. @defaultValue nothing */
  readonly before?: (id: string) => Promise<void>
}

/** Reloads one after the other, and stops at the first that fails. */
export async function reloadInTurn(
  group: ProcessGroup,
  ids: readonly string[],
  options: ReloadInTurnOptions,
): Promise<ReloadResult> {
  const done = { reloaded: [] as string[], restarted: [] as string[] }
  for (const id of ids) {
    const tell = (state: 'begun' | 'done' | 'failed', reason: string): void =>
      options.onEvent({ type: 'reload', id, state, reason })
    if (group.isStopping) return { ...done, failed: { id, reason: stoppingError().message } }
    tell('begun', 'it is reloaded')
    try {
      await options.before?.(id)
      const how = await reloadOne(group, id, options.standby)
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

async function reloadOne(
  group: ProcessGroup,
  id: string,
  standbyOf: ReloadInTurnOptions['standby'],
): Promise<'reloaded' | 'restarted'> {
  const process = group.get(id)
  const { machine, planned } = process
  const standby = planned.standby && isServing(machine.phase) ? standbyOf(id) : undefined
  if (standby === undefined) {
    await restartTogether(group, [id], { reason: 'it is reloaded', cause: 'deployment' })
    await group.until(() => isSettled(group, id))
    assertStarted(group, [id])
    return 'restarted'
  }
  await process.reload(standby)
  return 'reloaded'
}
