import type { App } from '../definition/app.ts'
import type { AppOptions } from './app-options.ts'
import { loadConfig, type LoadedConfig } from '../config/load-config.ts'
import { createHealthChecks, type OwnedHealthChecks } from '../lifecycle/create-health-checks.ts'
import { createLifecycle, type OwnedLifecycle } from '../lifecycle/create-lifecycle.ts'
import { createPipeline } from '../pipeline/create-pipeline.ts'
import { nameProcedures } from '../procedures/define-service.ts'
import { isSystem } from '../definition/define-system.ts'
import type { HealthReport } from '../lifecycle/health-checks.ts'
import type { Hooks } from '../definition/hooks.ts'
import { nearestKey, refuseUnknownKeys } from '../options/known-keys.ts'
import type { Links } from '../transport/link.ts'
import { option } from '../options/options.ts'
import type { ResolvedOptions } from '../options/option-spec.ts'
import { readOptions } from '../options/read-options.ts'
import { bindLazyServices, type Lazy } from '../lifecycle/lazy.ts'
import { loadProcess } from './load-process.ts'
import type { Logger } from '../logging/logger.ts'
import { RunningApp, type StartedTransport } from './running-app.ts'
import { assertRuntime } from './assert-runtime.ts'
import { createSiblings } from './siblings.ts'
import { createStartSteps, type StartSteps } from './start-steps.ts'
import { createStopSteps } from './stop-steps.ts'
import type { ResolvedProcess, SetupContext, System } from '../definition/system.ts'
import type { Transport, TransportHost } from '../transport/transport.ts'

const optionsSpec = {
  process: option.text().optional(),
  instance: option.count(0),
  baseUrl: option.text().optional(),
  logger: option.collaborator<Logger>(['debug', 'info', 'warn', 'error', 'child'], 'a logger').optional(),
  env: option.collaborator<NonNullable<AppOptions['env']>>([], 'environment variables').optional(),
  ports: option.record(option.port()),
  links: option.collaborator<Links>(['expose', 'connect'], 'links').optional(),
  dev: option.boolean(false),
  startupTimeout: option.delay().optional(),
  signal: option.signal(),
}

type ResolvedAppOptions = ResolvedOptions<typeof optionsSpec>

/**
 * Starts one process of a system; it takes calls when the promise resolves. Touches neither signals nor the exit of
 * the process: that is the business of whoever runs it.
 *
 * Order: configuration, `beforeCreate`, `setup`, auth and wrappers, `afterCreate`, eager services, `beforeStart`,
 * transports and workers, `afterStart`. When a step fails, everything made so far is released in reverse.
 *
 * @throws TypeError when the options make no sense.
 * @throws QuintetError `ERR_CORE_START_FAILED` naming the step that failed or was not done within `startupTimeout`.
 */
export async function createApp<Config, Services>(
  system: System<Config, Services>,
  options: AppOptions = {},
): Promise<App<Services>> {
  assertRuntime()
  if (!isSystem(system)) throw new TypeError('createApp: the first argument must be made by defineSystem().')
  const given = readOptions(options, optionsSpec, 'createApp')
  const entry = chooseProcess(system, given)
  const logger = given.logger ?? (await makeLogger(system, entry.name, given))
  return await new ProcessStart<Config, Services>(system, entry, given, logger).run()
}

/** Makes the logger of a process that was given none. pino is loaded here, because it takes as long as this package. */
async function makeLogger(
  system: Pick<System, 'name' | 'logger' | 'dev'>,
  process: string,
  { dev, instance }: ResolvedAppOptions,
): Promise<Logger> {
  const { createSystemLogger } = await import('./system-logger.ts')
  return createSystemLogger(system, {
    level: dev ? system.dev.logLevel : undefined,
    fields: { system: system.name, process, instance },
  })
}

function chooseProcess<Config, Services>(
  system: System<Config, Services>,
  { process: name, ports }: ResolvedAppOptions,
): ResolvedProcess<Services> {
  const names = system.processes.map((process) => process.name)
  const [only] = system.processes
  const entry =
    name === undefined && names.length === 1 ? only : system.processes.find((each) => each.name === name)
  if (entry === undefined) {
    const nearest = name === undefined ? undefined : nearestKey(name, names)
    const problem = name === undefined ? 'needs a process' : `has no process "${name}"`
    throw new TypeError(
      `createApp: the system "${system.name}" ${problem}. ${nearest ? `Did you mean "${nearest}"?` : `Processes: ${names.join(', ')}.`}`,
    )
  }
  refuseUnknownKeys(ports, Object.keys(entry.transports), 'createApp.ports')
  return entry
}

class ProcessStart<Config, Services> {
  readonly #system: System<Config, Services>
  readonly #entry: ResolvedProcess<Services>
  readonly #options: ResolvedAppOptions
  readonly #subject: string
  readonly #logger: Logger
  readonly #lifecycle: OwnedLifecycle
  readonly #started: StartedTransport[] = []

  constructor(
    system: System<Config, Services>,
    entry: ResolvedProcess<Services>,
    options: ResolvedAppOptions,
    logger: Logger,
  ) {
    this.#system = system
    this.#entry = entry
    this.#options = options
    this.#subject = `${system.name}/${entry.name}`
    this.#logger = logger
    this.#lifecycle = createLifecycle({ logger })
  }

  async run(): Promise<App<Services>> {
    const { dev, signal, startupTimeout } = this.#options
    if (dev && this.#system.dev.sourceMaps) process.setSourceMapsEnabled(true)
    const timeout = startupTimeout ?? this.#entry.startupTimeout
    const steps = createStartSteps({ subject: this.#subject, timeout, signal })
    this.#lifecycle.enter('starting')
    try {
      return await this.#start(steps)
    } catch (error) {
      await this.#release()
      throw error
    } finally {
      steps.finish()
    }
  }

  async #start(steps: StartSteps): Promise<App<Services>> {
    const system = this.#system
    const definition = await steps.run('loading its module', () =>
      loadProcess(this.#entry, this.#options.baseUrl),
    )
    const hooks = [system.hooks, this.#entry.hooks, definition.hooks]
    const config = await steps.run('its configuration', () => this.#loadConfig())
    for (const hook of hooks)
      await steps.run('beforeCreate', () => hook.beforeCreate?.({ config: config.value }))

    const health = createHealthChecks({ onReport: reportThrough(hooks) })
    const context = this.#setupContext(config.value, health, steps.signal)
    // Without a setup there are no services, and nothing was promised about their type.
    const services = await steps.run('setup', async () => (await system.setup?.(context)) ?? ({} as Services))
    const lazyServices = bindLazyServices(services, this.#lifecycle)
    const auth = await steps.run('auth', () => system.auth?.(services, context))
    const wrappers = await steps.run('wrappers', () => system.wrappers?.(services, context) ?? [])
    const workers = await steps.run('workers', () => definition.workers(services))
    const { maxConcurrentCalls } = this.#entry
    const pipeline = createPipeline({ logger: this.#logger, auth, wrappers, maxConcurrentCalls })
    const procedures = nameProcedures(definition.services)
    const app = new RunningApp<Services>({
      system: { name: system.name, version: system.version },
      shutdown: system.shutdown,
      process: this.#entry.name,
      instance: this.#options.instance,
      services,
      config: config.value,
      configOrigins: config.origins,
      logger: this.#logger,
      lifecycle: this.#lifecycle,
      health,
      pipeline,
      procedures,
      hooks,
      started: this.#started,
    })

    for (const hook of hooks) await steps.run('afterCreate', () => hook.afterCreate?.(app))
    // All of them end before the start does: one that fails must not have those released that others are using.
    const warmed = await Promise.allSettled(this.#entry.eager.map((name) => warm(steps, name, lazyServices)))
    for (const each of warmed) if (each.status === 'rejected') throw each.reason
    for (const hook of hooks) await steps.run('beforeStart', () => hook.beforeStart?.(app))
    const host = {
      system: { name: system.name, version: system.version },
      process: this.#entry.name,
      instance: app.instance,
      pipeline,
      procedures,
      routes: definition.routes,
      services,
      health,
      lifecycle: this.#lifecycle,
      logger: this.#logger,
    }
    await this.#startTransports(steps, host, workers)
    for (const hook of hooks) await steps.run('afterStart', () => hook.afterStart?.(app))
    await steps.run('announcing it', () => {
      if (this.#lifecycle.phase !== 'starting') throw new Error('the app was stopped while it started.')
      health.markStarted()
      this.#lifecycle.enter('running')
      const urls = this.#started.map(({ name, running }) => [name, running.url ?? null] as const)
      this.#logger.info({ transports: Object.fromEntries(urls) }, 'started')
    })
    return app
  }

  #loadConfig(): LoadedConfig<Config> | Promise<LoadedConfig<Config>> {
    const { config, env } = this.#system
    // A system without a schema has no configuration, and its setup was typed without one.
    if (config === undefined) return { value: undefined as Config, origins: new Map() }
    return loadConfig({
      schema: config.schema,
      sources: config.sources ?? [],
      env: { ...env, ...this.#entry.env, ...(this.#options.env ?? process.env) },
      baseUrl: this.#options.baseUrl,
    })
  }

  #setupContext(config: Config, health: OwnedHealthChecks, signal: AbortSignal): SetupContext<Config> {
    const { name, topology } = this.#entry
    return {
      config,
      health: { add: (check) => health.add(check) },
      logger: this.#logger,
      lifecycle: this.#lifecycle,
      signal,
      process: { name, instance: this.#options.instance },
      sibling: createSiblings({
        system: this.#system.name,
        process: name,
        access: topology.access,
        links: this.#options.links,
        lifecycle: this.#lifecycle,
      }),
    }
  }

  async #startTransports(
    steps: StartSteps,
    host: Omit<TransportHost, 'port'>,
    workers: readonly Transport[],
  ): Promise<void> {
    const { links, ports } = this.#options
    const { transports, topology } = this.#entry
    if (topology.expose && links === undefined) {
      this.#logger.warn({}, 'this process exposes its services to siblings, but was started without links')
    }
    const exposed = topology.expose && links !== undefined ? [links.expose()] : []
    const all: readonly (readonly [string, Transport])[] = [
      ...exposed.map((transport) => [transport.name, transport] as const),
      ...Object.entries(transports),
      ...workers.map((worker) => [worker.name, worker] as const),
    ]
    for (const [name, transport] of all) {
      const running = await steps.run(
        `the transport "${name}"`,
        () => {
          if (this.#started.some((other) => other.name === name)) {
            throw new TypeError(`there are two transports named "${name}".`)
          }
          return transport.start({ ...host, port: ports[name] })
        },
        (late) => late.close(),
      )
      this.#started.push({ name, running })
    }
  }

  /** Undoes a start that failed. What fails now is logged; the caller gets the reason for the failed start. */
  async #release(): Promise<void> {
    const steps = createStopSteps(this.#subject, this.#system.shutdown.timeout)
    for (const { name, running } of this.#started.toReversed()) {
      await steps.run(`closing the transport "${name}"`, () => running.close())
    }
    await steps.run(
      'releasing resources',
      () => this.#lifecycle.close(),
      () => this.#lifecycle.closing,
    )
    try {
      steps.finish()
    } catch (error) {
      this.#logger.error({ err: error }, 'not everything could be released after a failed start')
    }
  }
}

/** Makes a service before anybody asks for it. */
async function warm(
  steps: StartSteps,
  name: string,
  services: ReadonlyMap<string, Lazy<unknown>>,
): Promise<void> {
  await steps.run(`making the service "${name}"`, async () => {
    const service = services.get(name)
    if (service !== undefined) return void (await service())
    const nearest = nearestKey(name, [...services.keys()])
    throw new TypeError(
      `eager names "${name}", which is no lazy() service of setup. ${nearest ? `Did you mean "${nearest}"?` : `There are: ${[...services.keys()].join(', ') || 'none'}.`}`,
    )
  })
}

/** Shows each report to the hooks, each of which sees what the one before has made of it. */
function reportThrough(hooks: readonly Hooks<never>[]): (report: HealthReport) => Promise<HealthReport> {
  return async (report) => {
    let current = report
    for (const hook of hooks) current = (await hook.onHealthCheck?.(current)) ?? current
    return current
  }
}
