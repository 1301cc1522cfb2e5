import type { App } from '../definition/app.ts'
import type { Hooks } from '../definition/hooks.ts'
import type { ResolvedProcess, SetupContext, System } from '../definition/system.ts'
import { loadConfig, type LoadedConfig } from '../config/load-config.ts'
import { createHealthChecks, type OwnedHealthChecks } from '../lifecycle/create-health-checks.ts'
import { createLifecycle, type OwnedLifecycle } from '../lifecycle/create-lifecycle.ts'
import type { HealthReport } from '../lifecycle/health-checks.ts'
import { bindLazyServices, type Lazy } from '../lifecycle/lazy.ts'
import type { Logger } from '../logging/logger.ts'
import { nearestKey } from '../options/known-keys.ts'
import { createPipeline } from '../pipeline/create-pipeline.ts'
import { nameProcedures } from '../procedures/define-service.ts'
import type { Transport, TransportHost } from '../transport/transport.ts'
import type { ResolvedAppOptions } from './app-options.ts'
import { loadProcess } from './load-process.ts'
import { RunningApp, type StartedTransport } from './running-app.ts'
import { createSiblings } from './siblings.ts'
import { createStartSteps, type StartSteps } from './start-steps.ts'
import { createStopSteps } from './stop-steps.ts'

/** The start of one process, step by step. */
export class ProcessStart<Config, Services> {
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
      takeOver: () => this.#takeOver(takeClients),
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
    const { first, held } = this.#waysIn(workers)
    await this.#startTransports(steps, host, first)
    const { standby } = this.#options
    const takeClients = async (more: StartSteps): Promise<void> => {
      const standing = standby === undefined ? [] : [...this.#started]
      await this.#startTransports(more, host, held)
      for (const { name, running } of standing)
        await more.run(`taking over by the transport "${name}"`, () => running.takeOver?.())
      for (const hook of hooks) await more.run('afterStart', () => hook.afterStart?.(app))
    }
    if (standby === undefined) await takeClients(steps)
    await steps.run('announcing it', () => {
      if (this.#lifecycle.phase !== 'starting') throw new Error('the app was stopped while it started.')
      health.markStarted()
      this.#lifecycle.enter('running')
      const urls = this.#started.map(({ name, running }) => [name, running.url ?? null] as const)
      const transports = Object.fromEntries(urls)
      this.#logger.info({ transports }, standby === undefined ? 'started' : 'standing by')
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

  /** Ends a standby, within the time that a start may take. */
  async #takeOver(takeClients: (steps: StartSteps) => Promise<void>): Promise<void> {
    const { signal, standby, startupTimeout } = this.#options
    if (standby === undefined) return
    const timeout = startupTimeout ?? this.#entry.startupTimeout
    const steps = createStartSteps({ subject: this.#subject, timeout, signal })
    try {
      await takeClients(steps)
    } finally {
      steps.finish()
    }
  }

  /** All transports and workers; in standby those that cannot stand by are held back until it ends. */
  #waysIn(workers: readonly Transport[]): { readonly first: WaysIn; readonly held: WaysIn } {
    const { links, standby } = this.#options
    const { transports, topology } = this.#entry
    if (topology.expose && links === undefined) {
      this.#logger.warn({}, 'this process exposes its services to siblings, but was started without links')
    }
    const exposed = topology.expose && links !== undefined ? [links.expose()] : []
    const all: WaysIn = [
      ...exposed.map((transport) => [transport.name, transport] as const),
      ...Object.entries(transports),
      ...workers.map((worker) => [worker.name, worker] as const),
    ]
    if (standby === undefined) return { first: all, held: [] }
    return {
      first: all.filter(([, transport]) => transport.standby),
      held: all.filter(([, transport]) => !transport.standby),
    }
  }

  async #startTransports(
    steps: StartSteps,
    host: Omit<TransportHost, 'port' | 'socket' | 'standby'>,
    transports: WaysIn,
  ): Promise<void> {
    const { ports, sockets, standby } = this.#options
    for (const [name, transport] of transports) {
      const running = await steps.run(
        `the transport "${name}"`,
        () => {
          if (this.#started.some((other) => other.name === name)) {
            throw new TypeError(`there are two transports named "${name}".`)
          }
          return transport.start({
            ...host,
            port: ports[name],
            socket: sockets[name],
            standby: standby !== undefined && transport.standby ? `${standby}.${name}.sock` : undefined,
          })
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

/** Transports and workers by their names in the process. */
type WaysIn = readonly (readonly [string, Transport])[]

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
