import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { OrchestratorError } from '../errors.ts'
import type { RecordedEvent } from '../running/ecosystem-events.ts'
import type { RestartCause } from '../running/running-ecosystem.ts'
import { countHeld, supervisorGone } from '../holder/count-held.ts'
import { readLock } from '../state/lock.ts'
import { stateDirectory } from '../state/state-directory.ts'
import { controlFile, type ControlAddress } from './control-server.ts'
import type { Plan } from '../plan/plan.ts'
import { jsonLines } from './json-lines.ts'

export interface Command {
  readonly command:
    | 'status'
    | 'metrics'
    | 'secret'
    | 'restart'
    | 'reload'
    | 'settled'
    | 'apply'
    | 'follow'
    | 'events'
    | 'down'
    | 'kill'
  /** An app, a process or an instance. */
  readonly name?: string
  /** For `restart`. */
  readonly cause?: RestartCause
  /** For `apply`. */
  readonly plan?: Plan
  /** For `apply`: only tell what would change. */
  readonly dryRun?: boolean
  /** For `events`: those to come, too. */
  readonly follow?: boolean
}

export interface CommandOptions {
  /** What is followed is being called back, and the log files have all that came before. */
  readonly onStarted?: () => void
  readonly onLine?: (line: { readonly id: string; readonly line: string }) => void
  readonly onEvent?: (event: RecordedEvent) => void
  readonly signal?: AbortSignal
  /** How long the supervisor may take to say that it has received the command, in milliseconds. @defaultValue 10 s */
  readonly timeout?: number
}

const defaultTimeout = 10_000

/**
 * Sends a command to the supervisor of a data folder and returns its answer; a command that follows something
 * resolves with undefined when the supervisor goes or the signal aborts.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_NOT_RUNNING` when there is none, `ERR_ORCHESTRATOR_CONTROL_FAILED` when it
 *   says nothing.
 */
export async function sendCommand(
  dataDirectory: string,
  command: Command,
  options: CommandOptions = {},
): Promise<unknown> {
  const { timeout = defaultTimeout } = options
  const address = await readAddress(dataDirectory)
  const socket = connect(address.socket)
  return new Promise((resolve, reject) => {
    const silence = setTimeout(() => {
      reject(
        new OrchestratorError(
          `The supervisor (pid ${address.pid}) does not answer: it has not taken the command within ${timeout / 1_000} s. It may carry it out when it goes on. "kill -CONT ${address.pid}" wakes one that was stopped, "quintet down --force" ends it and all of its processes.`,
          { code: 'ERR_ORCHESTRATOR_CONTROL_FAILED', kind: 'unavailable' },
        ),
      )
      socket.destroy()
    }, timeout)
    socket.once('close', () => clearTimeout(silence))
    const lines = jsonLines(socket, (message) => {
      clearTimeout(silence)
      if ('started' in message) options.onStarted?.()
      else if ('line' in message) options.onLine?.(message['line'] as { id: string; line: string })
      else if ('event' in message) options.onEvent?.(message['event'] as RecordedEvent)
      else if ('result' in message) resolve(message['result'])
      else if ('error' in message)
        reject(toError(message['error'] as { message: string; code: OrchestratorError['code'] | null }))
    })
    socket.once('error', () => reject(notRunning(dataDirectory)))
    socket.once('close', () => {
      if (command.command === 'follow' || command.follow) return resolve(undefined)
      reject(
        new OrchestratorError('The supervisor went away before it answered. See "quintet status".', {
          code: 'ERR_ORCHESTRATOR_CONTROL_FAILED',
          kind: 'unavailable',
        }),
      )
    })
    options.signal?.addEventListener('abort', () => socket.destroy(), { once: true })
    lines.send({ ...command, token: address.token })
  })
}

async function readAddress(dataDirectory: string): Promise<ControlAddress & { readonly pid: number }> {
  const holder = await readLock(dataDirectory)
  if (!holder) throw notRunning(dataDirectory)
  try {
    const address = JSON.parse(readFileSync(controlFile(holder.run), 'utf8')) as ControlAddress
    return { ...address, pid: holder.pid }
  } catch (cause) {
    throw new OrchestratorError(
      'The supervisor is there, but does not take commands (yet). Try again in a moment.',
      {
        code: 'ERR_ORCHESTRATOR_CONTROL_FAILED',
        kind: 'unavailable',
        cause,
      },
    )
  }
}

function notRunning(dataDirectory: string): OrchestratorError {
  const held = countHeld(stateDirectory(dataDirectory).journalFile)
  if (held > 0) return supervisorGone(held)
  return new OrchestratorError('The ecosystem is not running. "quintet up" starts it.', {
    code: 'ERR_ORCHESTRATOR_NOT_RUNNING',
    kind: 'not-found',
    details: { held },
  })
}

function toError({
  message,
  code,
}: {
  message: string
  code: OrchestratorError['code'] | null
}): OrchestratorError {
  return new OrchestratorError(message, {
    code: code ?? 'ERR_ORCHESTRATOR_CONTROL_FAILED',
    kind: 'invalid-input',
  })
}
