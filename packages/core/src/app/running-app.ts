import { setTimeout as delay } from 'node:timers/promises'
import type { App } from '../definition/app.ts'
import type { OwnedHealthChecks } from '../lifecycle/create-health-checks.ts'
import type { OwnedLifecycle } from '../lifecycle/create-lifecycle.ts'
import type { Hooks } from '../definition/hooks.ts'
import type { Logger } from '../logging/logger.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import type { NamedProcedure } from '../procedures/service.ts'
import { createStopSteps } from './stop-steps.ts'
import type { System } from '../definition/system.ts'
import type { RunningTransport, StopReason } from '../transport/transport.ts'

export interface StartedTransport {
  readonly name: string
  readonly running: RunningTransport
}

/** What a start has made. */
export interface RunningAppParts<Services> {
  readonly system: App['system']
  readonly shutdown: System['shutdown']
  readonly process: string
  readonly instance: number
  readonly services: Services
  readonly config: unknown
  readonly configOrigins: ReadonlyMap<string, string>
  readonly logger: Logger
  readonly lifecycle: OwnedLifecycle
  readonly health: OwnedHealthChecks
  readonly pipeline: Pipeline
  readonly procedures: ReadonlyMap<string, NamedProcedure>
  readonly hooks: readonly Hooks<Services>[]
  readonly started: readonly StartedTransport[]
  readonly takeOver: () => Promise<void>
}

/** A process that has started, and how it stops. */
export class RunningApp<Services> implements App<Services> {
  readonly system: App['system']
  readonly process: string
  readonly instance: number
  readonly services: Services
  readonly config: unknown
  readonly configOrigins: ReadonlyMap<string, string>
  readonly logger: Logger
  readonly lifecycle: OwnedLifecycle
  readonly health: OwnedHealthChecks
  readonly pipeline: Pipeline
  readonly procedures: ReadonlyMap<string, NamedProcedure>
  readonly #shutdown: System['shutdown']
  readonly #hooks: readonly Hooks<Services>[]
  readonly #started: readonly StartedTransport[]
  readonly #takeOver: () => Promise<void>
  #takenOver: Promise<void> | undefined
  #givenWay: Promise<void> | undefined
  /** Aborts when what gives way has no more time. */
  readonly #noMoreTime = new AbortController()
  #stopped: Promise<void> | undefined

  constructor(parts: RunningAppParts<Services>) {
    this.system = parts.system
    this.process = parts.process
    this.instance = parts.instance
    this.services = parts.services
    this.config = parts.config
    this.configOrigins = parts.configOrigins
    this.logger = parts.logger
    this.lifecycle = parts.lifecycle
    this.health = parts.health
    this.pipeline = parts.pipeline
    this.procedures = parts.procedures
    this.#shutdown = parts.shutdown
    this.#hooks = parts.hooks
    this.#started = parts.started
    this.#takeOver = parts.takeOver
  }

  get transports(): ReadonlyMap<string, RunningTransport> {
    return new Map(this.#started.map(({ name, running }) => [name, running]))
  }

  takeOver(): Promise<void> {
    return (this.#takenOver ??= this.#takeOver())
  }

  giveWay(): Promise<void> {
    return (this.#givenWay ??= this.#giveWay())
  }

  stop(reason: StopReason = 'shutdown'): Promise<void> {
    return (this.#stopped ??= this.#stop(reason))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #giveWay(): Promise<void> {
    if (this.#stopped) return
    const { signal } = this.#noMoreTime
    const report = (name: string, error: unknown): void =>
      this.logger.error({ err: error, transport: name }, 'a transport could not give way')
    await Promise.all(
      this.#started.map(async ({ name, running }) => {
        try {
          if (running.giveWay) await running.giveWay('deployment', signal)
          // What it has in progress is waited for by the stop, which gives it its time.
          else running.drain('deployment', signal).catch((error: unknown) => report(name, error))
        } catch (error) {
          report(name, error)
        }
      }),
    )
  }

  /** Goes on serving until balancers have seen that the process is not ready. A process that failed does not wait. */
  async #propagate(reason: StopReason): Promise<void> {
    const { propagationDelay } = this.#shutdown
    // The address of one that has given way is ready all the time.
    if (propagationDelay === 0 || reason === 'failure' || this.#givenWay) return
    for (const { name, running } of this.#started) {
      try {
        running.announceStop?.(reason)
      } catch (error) {
        this.logger.error({ err: error, transport: name }, 'a transport could not announce the stop')
      }
    }
    await delay(propagationDelay)
  }

  async #stop(reason: StopReason): Promise<void> {
    const { timeout, drainConnections } = this.#shutdown
    this.lifecycle.enter('stopping')
    this.health.stopAccepting()
    this.logger.info({ reason }, 'stopping')
    await this.#propagate(reason)
    const steps = createStopSteps(`${this.system.name}/${this.process}`, timeout)
    // Noted before the calls are aborted: some end then, and it is they that took too long.
    let pending = ''
    steps.signal.addEventListener('abort', () => {
      this.#noMoreTime.abort(steps.signal.reason)
      pending = describeCalls(this.pipeline.activeByOperation)
    })
    const hooks = this.#hooks.toReversed()
    const transports = this.#started.toReversed()
    for (const hook of hooks) await steps.run('beforeStop', () => hook.beforeStop?.(this))
    if (drainConnections) {
      // All begin at once: one that is slow must neither keep the others open to new work nor use up their time.
      await Promise.all(
        transports.map(({ name, running }) =>
          steps.runToHandover(`draining the transport "${name}"`, () => running.drain(reason, steps.signal)),
        ),
      )
    }
    await steps.run(
      'calls in progress',
      () => this.pipeline.drain(drainConnections ? steps.signal : AbortSignal.abort()),
      () => pending || undefined,
    )
    for (const { name, running } of transports) {
      await steps.run(`closing the transport "${name}"`, () => running.close())
    }
    await steps.run(
      'releasing resources',
      () => this.lifecycle.close(),
      () => this.lifecycle.closing,
    )
    for (const hook of hooks) await steps.run('afterStop', () => hook.afterStop?.(this))
    this.lifecycle.enter('stopped')
    steps.finish()
    this.logger.info({ reason }, 'stopped')
  }
}

function describeCalls(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => (count === 1 ? name : `${count} of ${name}`)).join(', ')
}
