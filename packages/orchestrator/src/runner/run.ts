import {
  type App,
  createApp,
  type HealthReport,
  type Logger,
  type LogLevel,
  type StopReason,
  type System,
} from '@quintet/core'
import { inheritedSockets } from '@quintet/core/http'
import { createSystemLogger } from '@quintet/core/logger'
import { flushCompileCache } from 'node:module'
import { dirname, resolve } from 'node:path'
import { badCommand, describeError, OrchestratorError } from '../errors.ts'
import { standbyVariable } from '../control/messages.ts'
import { loadSystem } from '../plan/load-system.ts'
import { inTopologyOrder } from '../plan/topology-order.ts'
import { assertPorts, ofTransports, readPorts, type Ports } from './ports.ts'
import { createProcessLinks } from './process-links.ts'
import { findSupervisor, linkToSupervisor, type SupervisorLink } from './supervisor-link.ts'
import { describeHandles } from './watchdog.ts'

export interface RunOptions {
  /** The file whose default export is the system. */
  readonly bootstrap: string
  /** @defaultValue all processes of the system, in this one */
  readonly process?: string
  /** @defaultValue 0 */
  readonly instance?: number
  /** Ports by transport; those in `QUINTET_PORTS` (JSON) when not given. */
  readonly ports?: Ports
}

/**
 * Runs one process of a system, or all of them in one, until it is told to stop: by SIGTERM or SIGINT, by its
 * supervisor, or because of an uncaught exception. Owns the signals and the exit code of
 * the operating system's process.
 *
 * Exit code 0 after an orderly stop; 1 when the start failed, an exception was not caught, or the
 * stop was not done in time. A second signal ends it at once.
 */
export async function run(options: RunOptions): Promise<void> {
  const { system, ...prepared } = await prepare(options).catch(async (error: unknown) => {
    await tellSupervisor(error)
    throw error
  })
  await new Runner(system).run({ ...prepared, instance: options.instance ?? 0 })
}

interface Prepared {
  readonly system: System
  readonly baseUrl: string
  readonly processes: readonly string[]
  readonly ports: Ports
  /** Listening sockets that this process has inherited, by transport. */
  readonly sockets: Readonly<Record<string, number>>
}

async function prepare(options: RunOptions): Promise<Prepared> {
  const { system, baseUrl } = await load(options)
  const processes = chooseProcesses(system, options.process)
  const ports = options.ports ?? readPorts(process.env)
  assertPorts(system, processes, ports)
  return { system, baseUrl, processes, ports, sockets: readSockets(system, processes) }
}

/** What cannot be loaded now cannot be loaded the next time. */
async function tellSupervisor(error: unknown): Promise<void> {
  const supervisor = findSupervisor(process.env)
  if (!supervisor) return
  const link = linkToSupervisor({
    ...supervisor,
    report: async () => ({ status: 'fail', checks: {} }),
    stopping: () => undefined,
    takeOver: () => undefined,
    giveWay: () => undefined,
  })
  link.send({ type: 'start-failed', problem: describeError(error), permanent: true })
  await link.close()
}

/** A configuration that is wrong, a module that is missing or does not parse: nothing gets better by another try. */
function isPermanent(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    const { code } = current as NodeJS.ErrnoException
    if (current instanceof SyntaxError || permanentCodes.has(code ?? '')) return true
  }
  return false
}

const permanentCodes = new Set([
  'ERR_CORE_CONFIG_INVALID',
  'ERR_MODULE_NOT_FOUND',
  'ERR_UNSUPPORTED_DIR_IMPORT',
])

async function load(options: RunOptions): Promise<{ system: System; baseUrl: string }> {
  const bootstrap = resolve(options.bootstrap)
  return { system: await loadSystem(bootstrap, 'run'), baseUrl: dirname(bootstrap) }
}

function chooseProcesses(system: System, wanted: string | undefined): readonly string[] {
  const names = inTopologyOrder(system.processes).map((entry) => entry.name)
  if (wanted === undefined) return names
  if (names.includes(wanted)) return [wanted]
  throw new OrchestratorError(
    `run: the system "${system.name}" has no process "${wanted}". Processes: ${names.join(', ')}.`,
    { code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS', kind: 'not-found' },
  )
}

/** The stop is forced by Quintet's own means first; this much later the process ends whatever hangs. */
const watchdogMargin = 2_000

interface RunnerInput extends Omit<Prepared, 'system'> {
  readonly instance: number
}

class Runner {
  readonly #system: System
  readonly #link: SupervisorLink | undefined
  readonly #starting = new AbortController()
  readonly #apps: App[] = []
  #logger: Logger
  /** Why the supervisor is about to stop it. */
  #announced: StopReason = 'shutdown'
  readonly #takenOver = Promise.withResolvers<void>()
  #running = false
  #stopping = false
  #failed = false

  constructor(system: System) {
    this.#system = system
    this.#logger = makeLogger(system, { system: system.name })
    const supervisor = findSupervisor(process.env)
    this.#link =
      supervisor &&
      linkToSupervisor({
        ...supervisor,
        report: () => this.#report(),
        stopping: (reason) => {
          this.#announced = reason
        },
        takeOver: this.#takenOver.resolve,
        giveWay: () => void this.#giveWay(),
      })
  }

  async run({ processes, instance, ports, sockets, baseUrl }: RunnerInput): Promise<void> {
    this.#listen()
    const standby = takeStandby(process.env)
    try {
      for (const name of processes) {
        const logger = makeLogger(this.#system, { system: this.#system.name, process: name, instance })
        this.#logger = logger
        const links = await createProcessLinks(this.#system, name, instance, process.env)
        const app = await createApp(this.#system, {
          process: name,
          instance,
          baseUrl,
          logger,
          dev,
          ports: ofTransports(this.#system, name, ports),
          sockets: ofTransports(this.#system, name, sockets),
          ...startupTimeoutOf(process.env),
          ...(links ? { links } : {}),
          ...(standby === undefined ? {} : { standby }),
          signal: this.#starting.signal,
        })
        this.#apps.push(app)
        this.#starting.signal.throwIfAborted()
      }
      this.#running = true
      // Written now, and not while the process ends: on a busy machine that takes seconds.
      setTimeout(() => flushCompileCache(), 1_000).unref()
      if (standby !== undefined) {
        this.#link?.send({ type: 'standby', urls: this.#urls() })
        await this.#takenOver.promise
        for (const app of this.#apps) await app.takeOver()
      }
      this.#link?.send({ type: 'ready', urls: this.#urls() })
    } catch (error) {
      if (!this.#stopping) {
        this.#failed = true
        this.#logger.fatal({ err: error }, describeError(error))
        this.#link?.send({
          type: 'start-failed',
          problem: describeError(error),
          permanent: isPermanent(error),
        })
        this.#watch()
      }
      this.#stopping = true
      await this.#stopApps('failure')
    }
  }

  #urls(): Record<string, string> {
    const urls: Record<string, string> = {}
    for (const app of this.#apps)
      for (const [transport, { url }] of app.transports) if (url !== undefined) urls[transport] = url
    return urls
  }

  async #report(): Promise<HealthReport> {
    const reports = await Promise.all(this.#apps.map((app) => app.health.report()))
    if (reports.length === 0) return { status: 'fail', checks: {} }
    const worst = (['fail', 'warn', 'pass'] as const).find((status) =>
      reports.some((report) => report.status === status),
    )
    return {
      status: worst ?? 'fail',
      checks: Object.assign({}, ...reports.map((report) => report.checks)) as HealthReport['checks'],
    }
  }

  #listen(): void {
    let signalled = false
    const onSignal = (signal: NodeJS.Signals): void => {
      if (this.#stopping || signalled) process.exit(1)
      signalled = true
      this.#logger.info({ signal }, 'stopping')
      // The supervisor's announcement came before the signal and may be read after it, in the same turn.
      setImmediate(() => this.#stop(this.#announced))
    }
    // Output that is not read any more is no failure of the app, and a fatal line about it could not be written.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
    const onUncaught = (error: unknown): void => {
      this.#logger.fatal({ err: error }, 'uncaught exception')
      this.#failed = true
      this.#stop('failure')
    }
    process.once('beforeExit', () => this.#ranEmpty())
    process.on('uncaughtException', onUncaught)
    process.on('unhandledRejection', onUncaught)
  }

  /** Node ends a process that waits for nothing any more, with exit code 0 and without a word. */
  #ranEmpty(): void {
    if (this.#stopping) return
    const problem =
      'The event loop ran empty: nothing listens, no timer runs and nothing is waited for. A process that is to stay needs a transport, a worker or a timer that is not unref-ed.'
    this.#logger.fatal({}, problem)
    this.#failed = true
    this.#link?.send({ type: 'start-failed', problem, permanent: false })
    this.#stop('failure')
  }

  /** Serves its clients until they have gone to the generation that has taken over, and ends. */
  async #giveWay(): Promise<void> {
    this.#logger.info({}, 'giving way')
    await Promise.all(this.#apps.map((app) => app.giveWay()))
    this.#stop('deployment')
  }

  #stop(reason: StopReason): void {
    if (this.#stopping) return
    this.#stopping = true
    // It was ready for the supervisor until now, and would be again for one that it connects to later.
    this.#link?.send({ type: 'stopping' })
    this.#watch()
    // A start in progress notices the signal, and stops what it has made.
    this.#starting.abort(new Error('It was stopped while it was starting.'))
    if (this.#running) void this.#stopApps(reason)
  }

  async #stopApps(reason: StopReason): Promise<void> {
    for (const app of this.#apps.toReversed()) {
      try {
        await app.stop(reason)
      } catch (error) {
        this.#failed = true
        this.#logger.error({ err: error }, describeError(error))
      }
    }
    this.#exit(this.#failed ? 1 : 0)
  }

  /** Ends the process by force a little after the app's own deadline, and says what hung. */
  #watch(): void {
    const { propagationDelay, timeout: stopTimeout } = this.#system.shutdown
    const timeout = propagationDelay + stopTimeout + watchdogMargin
    setTimeout(() => {
      this.#logger.fatal(
        { pending: describeHandles() },
        `The stop was not done within ${timeout} ms; ending by force.`,
      )
      process.exit(1)
    }, timeout).unref()
  }

  /** Lets output and messages out before the process ends; what still hangs then does not hold it. */
  #exit(code: number): void {
    process.exitCode = code
    const told = this.#link?.close()
    const flushed = Promise.all([process.stdout, process.stderr].map(flush))
    void Promise.all([flushed, told]).then(([[isRead]]) =>
      setImmediate(() => {
        // Into a pipe that nothing reads any more, pino's stream writes its last lines again and again for ever.
        if (!isRead) process.kill(process.pid, 'SIGKILL')
        process.exit(code)
      }),
    )
  }
}

/** Resolves when everything has been written: to whether it is read. */
function flush(stream: NodeJS.WriteStream): Promise<boolean> {
  return new Promise((resolve) => void stream.write('', (error) => resolve(error == null)))
}

const dev = process.env['QUINTET_DEV'] === '1'

function makeLogger(system: System, fields: Record<string, unknown>): Logger {
  const level =
    (process.env['QUINTET_LOG_LEVEL'] as LogLevel | undefined) ?? (dev ? system.dev.logLevel : undefined)
  return createSystemLogger(system, { level, fields })
}

/** Where it is to listen until it takes over; what it starts itself must not take that for its own. */
function takeStandby(env: NodeJS.ProcessEnv): string | undefined {
  const standby = env[standbyVariable]
  delete env[standbyVariable]
  return standby
}

/** What the ecosystem file says in place of the process entry. */
function startupTimeoutOf(env: NodeJS.ProcessEnv): { readonly startupTimeout?: number } {
  const text = env['QUINTET_STARTUP_TIMEOUT']
  if (!text) return {}
  const startupTimeout = Number(text)
  if (Number.isSafeInteger(startupTimeout) && startupTimeout > 0) return { startupTimeout }
  throw badCommand(
    `QUINTET_STARTUP_TIMEOUT: ${JSON.stringify(text)} is no time. Give milliseconds, e.g. 30000.`,
  )
}

/** Sockets of systemd or the supervisor; what no transport takes is refused, because its clients would wait for ever. */
function readSockets(system: System, processes: readonly string[]): Record<string, number> {
  const sockets = inheritedSockets()
  // They are ours alone: what we start must not take them for its own.
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete process.env[name]
  const transports = system.processes
    .filter(({ name }) => processes.includes(name))
    .flatMap((entry) => Object.keys(entry.transports))
  const strange = [...sockets.keys()].find((name) => !transports.includes(name))
  if (strange === undefined) return Object.fromEntries(sockets)
  throw badCommand(
    `run: an inherited socket is called "${strange}", and there is no such transport. Set FileDescriptorName= to one of: ${transports.join(', ')}.`,
  )
}
