import type { SupervisorLossPolicy } from '@quintet/core/ecosystem'
import { createWriteStream, writeFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { binPath } from '../bin-path.ts'
import { sendCommand } from '../control/control-client.ts'
import { badCommand, describeError, isCode } from '../errors.ts'
import { countHeld } from '../holder/count-held.ts'
import type { Plan } from '../plan/plan.ts'
import { folderMark, markVariable } from '../processes/process-mark.ts'
import type { HandOver } from '../control/control-server.ts'
import type { RunningEcosystem } from '../running/running-ecosystem.ts'
import { replaceFile } from '../state/replace-file.ts'
import { openSecrets } from '../state/secrets.ts'
import { stateDirectory, supervisorLog } from '../state/state-directory.ts'
import { reviverMark } from '../launch/end-held.ts'
import { isRevived, startReviver, type Reviver } from './reviver.ts'
import { serveEcosystem } from './serve-ecosystem.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'

/** What `quintet up` hands to the process that stays, on its standard input. */
export interface DaemonInput {
  readonly plan: Plan
  readonly dataDirectory: string
  readonly ports: 'fixed' | 'auto'
  readonly gatewayPort: number | null
  readonly onSupervisorLoss: SupervisorLossPolicy
  /** What ran until now, where `plan` is to take its place. */
  readonly previous?: Plan
}

/** What the process that stays tells `quintet up` on its fourth descriptor, until it is launched. */
export type DaemonMessage =
  | { readonly type: 'event'; readonly event: EcosystemEvent }
  | { readonly type: 'launched' }
  | { readonly type: 'problem'; readonly message: string }

/** The body of the supervisor in the background. */
export async function runDaemon(): Promise<void> {
  const parent = createWriteStream('', { fd: 3 })
  parent.on('error', () => undefined)
  const tell = (message: DaemonMessage): void => {
    if (parent.writable) parent.write(`${JSON.stringify(message)}\n`)
  }
  // Of the shell that has started it again; what we start has marks of its own.
  delete process.env[markVariable]
  let reviver: Reviver | undefined
  try {
    const input = JSON.parse(await text(process.stdin)) as DaemonInput
    const serve = ({ plan, previous }: DaemonInput, failure?: EcosystemEvent): Promise<number> => {
      const applied: EcosystemEvent = {
        type: 'apply',
        state: 'done',
        reason: 'the ecosystem file was applied',
      }
      const firstEvent = failure ?? (previous && applied)
      return serveEcosystem(plan, {
        ...(firstEvent ? { firstEvent } : {}),
        dataDirectory: input.dataDirectory,
        ports: input.ports,
        onSupervisorLoss: input.onSupervisorLoss,
        ...(input.gatewayPort === null ? {} : { gatewayPort: input.gatewayPort }),
        onEvent: (event) => tell({ type: 'event', event }),
        // One that is killed while it stops was to stop.
        onStopping: () => reviver?.release(),
        handOver: (ecosystem) => handOverBy(() => reviver, ecosystem, { ...input, plan }),
        onLaunched() {
          const { previous: _previous, ...settled } = { ...input, plan }
          if (input.onSupervisorLoss === 'keep') reviver = tryToRevive(settled)
          tell({ type: 'launched' })
          parent.end()
        },
      })
    }
    const serveEither = (): Promise<number> => orPrevious(input, serve)
    process.exitCode = await (isRevived() ? whenFree(input.dataDirectory, serveEither) : serveEither())
  } catch (error) {
    tell({ type: 'problem', message: describeError(error) })
    parent.end()
    process.exitCode = 1
  } finally {
    reviver?.release()
  }
}

/** Where a plan cannot be launched, the one that ran goes on. */
async function orPrevious(
  input: DaemonInput,
  serve: (input: DaemonInput, failure?: EcosystemEvent) => Promise<number>,
): Promise<number> {
  try {
    return await serve(input)
  } catch (error) {
    const { previous, ...rest } = input
    if (previous === undefined || isCode(error, 'ERR_ORCHESTRATOR_ALREADY_RUNNING')) throw error
    process.stderr.write(`The ecosystem file was not applied: ${describeError(error)}\n`)
    const failure = { type: 'apply', state: 'failed', reason: describeError(error) } as const
    return serve({ ...rest, plan: previous }, failure)
  }
}

/** The shell that would start another supervisor if this one were killed does so with what it then finds in its file. */
function handOverBy(
  reviver: () => Reviver | undefined,
  ecosystem: RunningEcosystem,
  input: DaemonInput,
): HandOver {
  return {
    prepare(next) {
      if (!reviver()?.isReady)
        throw badCommand(
          'There is no supervisor that could take over: apps end with theirs (onSupervisorLoss), or the shell beside it was killed a moment ago.',
        )
      const { daemonFile } = stateDirectory(input.dataDirectory)
      replaceFile(daemonFile, JSON.stringify({ ...input, plan: next, previous: input.plan }))
    },
    async leave() {
      await reviver()?.expect()
      // Nothing is read after that, and so nothing is lost.
      await ecosystem.logged()
      process.kill(process.pid, 'SIGKILL')
      throw new TypeError('It has ended.')
    },
  }
}

/** How often a lock is tried that a command holds, in milliseconds. */
const lockInterval = 500

/**
 * Serves as soon as no command holds the data folder, for as long as there is something that goes on without a supervisor;
 * not where another one is there by then.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_ALREADY_RUNNING`
 */
async function whenFree(dataDirectory: string, serve: () => Promise<number>): Promise<number> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await serve()
    } catch (error) {
      const busy = isCode(error, 'ERR_ORCHESTRATOR_ALREADY_RUNNING')
      if (!busy || countHeld(stateDirectory(dataDirectory).journalFile) === 0) throw error
      if (await isSupervised(dataDirectory)) throw error
      if (attempt === 0)
        process.stdout.write('The supervisor waits for a command that holds the data folder.\n')
    }
    await delay(lockInterval)
  }
}

/** Whether a supervisor takes commands. */
function isSupervised(dataDirectory: string): Promise<boolean> {
  return sendCommand(dataDirectory, { command: 'status' }).then(
    () => true,
    () => false,
  )
}

/** On a full disk there is a supervisor all the same. */
function tryToRevive(input: DaemonInput): Reviver | undefined {
  try {
    return revive(input)
  } catch (error) {
    process.stderr.write(
      `The supervisor will not be started again when it is killed: ${describeError(error)}\n`,
    )
    return undefined
  }
}

/** What goes on without its supervisor gets it back. */
function revive(input: DaemonInput): Reviver {
  const state = stateDirectory(input.dataDirectory)
  writeFileSync(state.daemonFile, JSON.stringify(input), { mode: 0o600 })
  return startReviver({
    command: [process.execPath, ...process.execArgv, binPath, '@daemon'],
    inputFile: state.daemonFile,
    logFile: supervisorLog(state),
    env: process.env,
    mark: reviverMark(folderMark(openSecrets(state.secretsFile).get('mark'))).variable,
  })
}
