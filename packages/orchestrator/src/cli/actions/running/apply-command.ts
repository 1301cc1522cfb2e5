import { setTimeout as delay } from 'node:timers/promises'
import { sendCommand } from '../../../control/control-client.ts'
import { isCode, OrchestratorError } from '../../../errors.ts'
import type { RecordedEvent } from '../../../running/ecosystem-events.ts'
import type { EcosystemStatus } from '../../../running/ecosystem-status.ts'
import { isUnchanged, type PlanChanges } from '../../../running/plan-changes.ts'
import { formatChanges } from '../../../terminal/format-changes.ts'
import { formatEvent } from '../../../terminal/format-event.ts'
import { loadContext, print, type CommonOptions } from '../context.ts'
import { showEvents } from './show-events.ts'

export interface ApplyOptions extends CommonOptions {
  readonly dryRun?: boolean
}

/** The exit code when something goes on as it was that was to be another. */
const refused = 2

/** Brings what runs in line with the ecosystem file: only what has changed is started, reloaded or stopped. */
export async function apply(options: ApplyOptions): Promise<void> {
  const { plan, state } = await loadContext(options)
  const send = (dryRun: boolean): Promise<unknown> =>
    sendCommand(state.root, { command: 'apply', plan, dryRun }, { onEvent: showEvents(options) })
  const { pid: before } = (await sendCommand(state.root, { command: 'status' })) as EcosystemStatus
  const changes = (await send(true)) as PlanChanges
  print(options, changes, formatChanges)
  if (options.dryRun || isUnchanged(changes)) return
  await send(false)
  const status = await whenTakenOver(state.root, before)
  const problems = (await eventsOf(state.root)).filter(isProblem)
  for (const event of problems) process.stderr.write(`${formatEvent(event) ?? ''}\n`)
  const isFine = status.processes.every(({ phase }) => phase === 'ready' || phase === 'completed')
  if (problems.length > 0) process.exitCode = refused
  else if (!isFine) process.exitCode = 1
}

function isProblem(event: RecordedEvent): boolean {
  return (event.type === 'apply' || event.type === 'reload') && event.state === 'failed'
}

/** How often the next supervisor is asked, in milliseconds. */
const interval = 100

/** How long it may take until it answers, in milliseconds. */
const timeout = 120_000

/** Resolves when another supervisor has everything settled. */
async function whenTakenOver(root: string, before: number): Promise<EcosystemStatus> {
  const deadline = performance.now() + timeout
  for (;;) {
    try {
      const { status } = (await sendCommand(root, { command: 'settled' })) as { status: EcosystemStatus }
      if (status.pid !== before) return status
    } catch (error) {
      const isBetween =
        isCode(error, 'ERR_ORCHESTRATOR_NOT_RUNNING') || isCode(error, 'ERR_ORCHESTRATOR_CONTROL_FAILED')
      if (!isBetween || performance.now() > deadline) throw error
    }
    if (performance.now() > deadline)
      throw new OrchestratorError(`No other supervisor has taken over within ${timeout / 1_000} s.`, {
        code: 'ERR_ORCHESTRATOR_CONTROL_FAILED',
        kind: 'unavailable',
      })
    await delay(interval)
  }
}

async function eventsOf(root: string): Promise<readonly RecordedEvent[]> {
  const events: RecordedEvent[] = []
  await sendCommand(root, { command: 'events' }, { onEvent: (event) => events.push(event) })
  return events
}
