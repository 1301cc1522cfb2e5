import { setTimeout as delay } from 'node:timers/promises'
import { sendCommand } from '../../../control/control-client.ts'
import { isCode, OrchestratorError } from '../../../errors.ts'
import type { EcosystemStatus, ProcessStatus } from '../../../running/ecosystem-status.ts'
import { isNamed } from '../../../running/is-named.ts'
import { explainUnknown } from './added-since.ts'
import { locateState, print, type CommonOptions } from '../context.ts'

export interface WaitOptions extends CommonOptions {
  /** Milliseconds. */
  readonly timeout: number
}

const pollInterval = 250

/** Waits until an app, a process or all migrations are ready, also of an ecosystem that has yet to start. */
export async function wait(name: string, options: WaitOptions): Promise<void> {
  const deadline = performance.now() + options.timeout
  for (;;) {
    const found = await explainUnknown(name, options, find(name, options))
    if (found?.every(isReady)) {
      const ready = found.map(({ id, phase }) => ({ id, phase }))
      return print(options, ready, (all) => all.map(({ id, phase }) => `${id} ${phase}`).join('\n'))
    }
    const failed = found?.find(({ phase }) => phase === 'failed')
    if (failed)
      throw gaveUp(`${failed.id} failed: ${failed.lastFailure}. See "quintet explain ${failed.id}".`)
    if (performance.now() >= deadline) throw gaveUp(describeLate(name, options.timeout, found))
    await delay(Math.min(pollInterval, Math.max(0, deadline - performance.now())))
  }
}

/** Undefined when nothing runs. */
async function find(name: string, options: CommonOptions): Promise<ProcessStatus[] | undefined> {
  const status = await readStatus(options)
  if (!status) return undefined
  if (name === 'migrations') return status.processes.filter(({ kind }) => kind === 'task')
  const found = status.processes.filter(({ id }) => isNamed(id, name))
  if (found.length > 0) return found
  throw new OrchestratorError(
    `There is no app or process "${name}". There are: ${status.processes.map(({ id }) => id).join(', ')}, and "migrations".`,
    { code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS', kind: 'not-found' },
  )
}

async function readStatus(options: CommonOptions): Promise<EcosystemStatus | undefined> {
  try {
    return (await sendCommand(locateState(options).root, { command: 'status' })) as EcosystemStatus
  } catch (error) {
    // It has not started yet, or does not take commands yet.
    if (isCode(error, 'ERR_ORCHESTRATOR_NOT_RUNNING') || isCode(error, 'ERR_ORCHESTRATOR_CONTROL_FAILED'))
      return undefined
    throw error
  }
}

function isReady({ phase }: ProcessStatus): boolean {
  return phase === 'ready' || phase === 'completed'
}

function describeLate(name: string, timeout: number, found: readonly ProcessStatus[] | undefined): string {
  const left = (found ?? []).filter((each) => !isReady(each)).map(({ id, phase }) => `${id} is ${phase}`)
  return `"${name}" was not ready within ${timeout} ms: ${found ? left.join(', ') : 'the ecosystem does not run'}.`
}

function gaveUp(message: string): OrchestratorError {
  return new OrchestratorError(message, { code: 'ERR_ORCHESTRATOR_START_FAILED', kind: 'unavailable' })
}
