import { spawn } from 'node:child_process'
import { openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { binPath, withCompileCache } from '../../bin-path.ts'
import { sendCommand } from '../../control/control-client.ts'
import type { DaemonInput, DaemonMessage } from '../../daemon/run-daemon.ts'
import type { Plan } from '../../plan/plan.ts'
import type { EcosystemFailure } from '../../running/running-ecosystem.ts'
import type { EcosystemStatus } from '../../running/ecosystem-status.ts'
import type { ProcessPhase } from '../../running/process-phase.ts'
import { describeError, isCode, OrchestratorError } from '../../errors.ts'
import { serveEcosystem } from '../../daemon/serve-ecosystem.ts'
import { droppedLine } from '../../logs/log-entry.ts'
import { alreadyRunning, readLock } from '../../state/lock.ts'
import { prepareStateDirectory, supervisorLog, type StateDirectory } from '../../state/state-directory.ts'
import type { EcosystemEvent } from '../../running/ecosystem-events.ts'
import { onOutputLost } from '../output.ts'
import { lossPolicy } from './loss-policy.ts'
import { findConfig, loadContext, print, type CommonOptions, type LoadedContext } from './context.ts'
import { formatEvent } from '../../terminal/format-event.ts'
import { formatLogLine } from '../../terminal/format-log-line.ts'
import { formatStatus } from '../../terminal/format-status.ts'

export interface UpOptions extends CommonOptions {
  /** Under what the systems say in `dev`, and with restarts when files change; stays in the foreground. */
  readonly dev?: boolean
  readonly foreground?: boolean
  readonly ports: 'fixed' | 'auto'
  readonly port?: number
}

/** Bytes of output that may wait for whoever reads it. */
const outputBacklog = 1024 * 1024

/** What every process is in when everything has started. */
const started = new Set<ProcessPhase>(['ready', 'completed', 'unhealthy'])

/** Starts everything, in the background or as the business of this process. */
export async function up(options: UpOptions): Promise<void> {
  const { plan, state } = options.dev ? await loadWhenSound(options) : await loadContext(options)
  prepareStateDirectory(state)
  const holder = await readLock(state.root)
  if (holder) throw alreadyRunning(holder)
  const show = (event: EcosystemEvent): void => {
    const line = options.json ? JSON.stringify(event) : formatEvent(event)
    if (line !== undefined) process.stdout.write(`${line}\n`)
  }
  const say = (message: string): void => show({ type: 'progress', message })
  const loss = lossPolicy(plan.supervision.onSupervisorLoss, {
    dev: options.dev ?? false,
    foreground: options.foreground ?? false,
    platform: process.platform,
  })
  const input: DaemonInput = {
    plan,
    dataDirectory: state.root,
    ports: options.ports,
    gatewayPort: options.port ?? null,
    onSupervisorLoss: loss,
  }
  if (options.foreground || options.dev) {
    await using watching = new AsyncDisposableStack()
    const lost = new AbortController()
    onOutputLost(() => lost.abort(new Error('nothing reads the output any more')))
    process.exitCode = await serveEcosystem(plan, {
      dataDirectory: state.root,
      ports: options.ports,
      ...(options.port === undefined ? {} : { gatewayPort: options.port }),
      onEvent: show,
      dev: options.dev ?? false,
      onSupervisorLoss: loss,
      signal: lost.signal,
      onLaunched(ecosystem) {
        let dropped = 0
        ecosystem.follow(undefined, (id, line) => {
          if (process.stdout.writableLength > outputBacklog) return void (dropped += 1)
          if (dropped > 0) process.stdout.write(`${formatLogLine(id, droppedLine(dropped))}\n`)
          dropped = 0
          process.stdout.write(
            `${options.json ? JSON.stringify({ type: 'line', id, line }) : formatLogLine(id, line)}\n`,
          )
        })
        if (options.dev)
          void import('../../dev/watch-apps.ts').then(({ watchApps }) =>
            watching.use(watchApps(ecosystem, { onMessage: say })),
          )
      },
    })
    return
  }
  await launchDaemon(state, input, show)
  const answer = (await sendCommand(state.root, { command: 'settled' })) as {
    failure: EcosystemFailure | null
    status: EcosystemStatus
  }
  if (answer.failure !== null) {
    throw new OrchestratorError(
      `The ecosystem could not start. ${answer.failure.reason}\nSee "quintet logs".`,
      {
        code: 'ERR_ORCHESTRATOR_START_FAILED',
        kind: 'unavailable',
      },
    )
  }
  print(options, answer.status, (status) => formatStatus(status, Date.now()))
  if (!answer.status.processes.every(({ phase }) => started.has(phase))) process.exitCode = 1
}

/** What is not there is not watched, and a save would do nothing. */
function assertWatched({ apps }: Plan): void {
  for (const { name, watch } of apps) {
    if (watch === null || statSync(watch.directory, { throwIfNoEntry: false })?.isDirectory()) continue
    throw new OrchestratorError(
      `apps.${name}.watch.directory: there is no folder ${watch.directory}. Name the folder with the sources of the app.`,
      { code: 'ERR_ORCHESTRATOR_CONFIG_INVALID', kind: 'invalid-input' },
    )
  }
}

/** Under `dev` an ecosystem that is broken is not the end: it is read again at the next save. */
async function loadWhenSound(options: UpOptions): Promise<LoadedContext> {
  const config = findConfig(options)
  for (;;) {
    try {
      const context = await loadContext(options)
      assertWatched(context.plan)
      return context
    } catch (error) {
      if (!isCode(error, 'ERR_ORCHESTRATOR_CONFIG_INVALID')) throw error
      process.stderr.write(`${describeError(error)}\n`)
      const { nextSave } = await import('../../dev/next-save.ts')
      await nextSave(dirname(config), () => process.stderr.write('Waiting for the next save.\n'))
    }
  }
}

/** Starts the process that stays, and waits until it has launched everything or says why it cannot. */
async function launchDaemon(
  state: StateDirectory,
  input: DaemonInput,
  show: (event: EcosystemEvent) => void,
): Promise<void> {
  const log = openSync(supervisorLog(state), 'a', 0o600)
  const child = spawn(process.execPath, ['--max-semi-space-size=1', binPath, '@daemon'], {
    detached: true,
    stdio: ['pipe', log, log, 'pipe'],
    cwd: '/',
    env: withCompileCache(process.env),
  })
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
  })
  // A daemon that has ended reads nothing; its exit code says more.
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(JSON.stringify(input))
  const lines = createInterface(child.stdio[3] as NodeJS.ReadableStream)
  for await (const line of lines) {
    const message = JSON.parse(line) as DaemonMessage
    if (message.type === 'event') show(message.event)
    else if (message.type === 'problem') throw failed(message.message)
    else {
      child.unref()
      lines.close()
      return
    }
  }
  throw failed(`The supervisor ended (${await exited}). See ${supervisorLog(state)}.`)
}

function failed(message: string): OrchestratorError {
  return new OrchestratorError(message, { code: 'ERR_ORCHESTRATOR_START_FAILED', kind: 'unavailable' })
}
