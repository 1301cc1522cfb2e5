import type { StopReason } from '@quintet/core'
import { backoffDelay } from './backoff.ts'
import { createCrashBudget, type CrashBudget } from './crash-budget.ts'
import { createMailbox, type Mailbox } from './mailbox.ts'
import { createTimers, type SupervisorClock, type Timers } from './timers.ts'
import type { Plan, PlannedProcess } from '../plan/plan.ts'
import type { ProcessPhase } from '../running/process-phase.ts'
import type { RestartCause } from '../running/running-ecosystem.ts'

/** What happens to a process, from outside or from its child. */
export type ProcessEvent =
  /** It is wanted up: by `start`, or by a process that depends on it. */
  | { readonly type: 'start' }
  /** It runs already: an earlier supervisor has left it. Whatever it waits for is not waited for. */
  | {
      readonly type: 'adopt'
      /** It was told to stop: it starts again when it has. @defaultValue false */
      readonly stopping?: boolean
    }
  /** What it waits for is ready now, or is not. */
  | { readonly type: 'gate'; readonly open: boolean }
  /** Its child listens (or needs not). */
  | { readonly type: 'listening' }
  /** Its child has begun to stop, and ends. */
  | { readonly type: 'stopping' }
  /** The answer to a probe; `responsive` is false when there was none in time. */
  | {
      readonly type: 'probed'
      readonly responsive: boolean
      readonly healthy: boolean
      readonly detail: string
    }
  /** Its child and everything that the child started are gone, and its ports are free. */
  | {
      readonly type: 'gone'
      readonly reason: string
      readonly success: boolean
      /** Another try would end the same way. @defaultValue false */
      readonly permanent?: boolean
    }
  | {
      readonly type: 'stop'
      readonly reason: string
      /** The supervisor stops: nothing starts it again, whatever is asked later. @defaultValue false */
      readonly forGood?: boolean
    }
  /** Stop and start again, without counting as a crash. */
  | {
      readonly type: 'restart'
      readonly reason: string
      /** What the process is told. @defaultValue `'restart'` */
      readonly cause?: RestartCause
    }

/** What the machine asks of the world. None may call back before it returns. */
export interface ProcessEffects {
  spawn(): void
  /** Takes over what runs already. */
  adopt(): void
  /** Ends the child; `gone` follows. By force after `graceMs`, or else after the process's own stop timeout. */
  terminate(reason: string, cause: StopReason, graceMs?: number): void
  /** Asks the child for its health; `probed` follows within the given time. */
  probe(timeoutMs: number): void
  changed(transition: ProcessTransition): void
  /** It crashed and will be started again. */
  crashed(): void
  /** It is past its budget. */
  exhausted(reason: string): void
}

export interface ProcessTransition {
  readonly from: ProcessPhase
  readonly to: ProcessPhase
  readonly reason: string
  /** Milliseconds until it is started again, in `backoff`. */
  readonly delay?: number
}

export interface ProcessMachine {
  readonly phase: ProcessPhase
  /** How often it was started again after a crash. */
  readonly restarts: number
  /** Since when it is in this phase, by the wall clock. */
  readonly since: number
  /** It is past its crash budget, and was not ready since. */
  readonly exhausted: boolean
  /** Why it ended the last time. */
  readonly lastFailure: string | undefined
  /** Put into the mailbox; events are taken one at a time, in order. */
  send(event: ProcessEvent): void
}

export interface MachineOptions {
  readonly process: PlannedProcess
  readonly supervision: Plan['supervision']
  readonly effects: ProcessEffects
  readonly clock: SupervisorClock
  /** How often it was started again before. @defaultValue 0 */
  readonly restarts?: number | undefined
  /** From 0 to 1. @defaultValue `Math.random` */
  readonly random?: () => number
}

/** While a process comes up, it is asked this often. */
const startProbeInterval = 100

/** After a probe without an answer the next one comes soon: a process that hangs is noticed within 20 s by default. */
const suspicionInterval = 1_000

/** A timer that is later than this ran late because the whole supervisor stood still, in milliseconds. */
const suspended = 500

/** What hangs does not stop in an orderly way either, in milliseconds. */
const hungGrace = 3_000

type TimerName = 'startup' | 'probe' | 'backoff' | 'healthy'

/** What comes when a stopping child is gone. */
type AfterStop = 'stopped' | 'restart' | 'as it ends' | { readonly crash: string }

type Answer = Extract<ProcessEvent, { type: 'probed' }>

type Probes = Exclude<PlannedProcess['health'], false>

/** The life of one process: a mailbox, a phase, and rules for what each event does in each phase. */
export function createProcessMachine(options: MachineOptions): ProcessMachine {
  return new Machine(options)
}

class Machine implements ProcessMachine {
  readonly #settings: PlannedProcess
  readonly #supervision: Plan['supervision']
  readonly #effects: ProcessEffects
  readonly #clock: SupervisorClock
  readonly #random: () => number
  readonly #budget: CrashBudget
  readonly #mailbox: Mailbox<ProcessEvent>
  readonly #timers: Timers<TimerName>
  #phase: ProcessPhase = 'stopped'
  #since: number
  #restarts: number
  #lastFailure: string | undefined
  #exhausted = false
  #gateOpen = false
  #wasReady = false
  /** Crashes and failed starts since it was last healthy for a whole window. */
  #failures = 0
  #missedProbes = 0
  /** The supervisor stops. */
  #retired = false
  #afterStop: AfterStop = 'stopped'

  constructor(options: MachineOptions) {
    this.#settings = options.process
    this.#supervision = options.supervision
    this.#effects = options.effects
    this.#clock = options.clock
    this.#random = options.random ?? Math.random
    this.#budget = createCrashBudget(options.supervision)
    this.#mailbox = createMailbox((event) => this.#handle(event))
    this.#timers = createTimers(options.clock, this.#mailbox.run)
    this.#since = options.clock.now()
    this.#restarts = options.restarts ?? 0
  }

  get phase(): ProcessPhase {
    return this.#phase
  }

  get restarts(): number {
    return this.#restarts
  }

  get since(): number {
    return this.#since
  }

  get exhausted(): boolean {
    return this.#exhausted
  }

  get lastFailure(): string | undefined {
    return this.#lastFailure
  }

  send(event: ProcessEvent): void {
    this.#mailbox.send(event)
  }

  #handle(event: ProcessEvent): void {
    switch (event.type) {
      case 'start':
        return this.#onStart()
      case 'adopt':
        return this.#onAdopt(event.stopping ?? false)
      case 'gate':
        return this.#onGate(event.open)
      case 'listening':
        return this.#onListening()
      case 'probed':
        return this.#onProbed(event)
      case 'stopping':
        return this.#onStopping()
      case 'gone':
        return this.#onGone(event)
      case 'stop':
        return this.#onStop(event)
      case 'restart':
        return this.#onRestart(event)
    }
  }

  #onStart(): void {
    if (this.#retired) return
    if (this.#phase === 'stopping') this.#afterStop = 'restart'
    if (this.#phase !== 'stopped' && this.#phase !== 'failed' && this.#phase !== 'backoff') return
    this.#timers.disarm('backoff')
    this.#budget.reset()
    this.#exhausted = false
    this.#failures = 0
    this.#spawnWhenOpen('it is to start')
  }

  #onAdopt(stopping: boolean): void {
    if (this.#phase !== 'stopped') return
    this.#wasReady = this.#settings.kind === 'service'
    if (stopping) return this.#adoptStopping()
    this.#enter('starting', 'it went on without its supervisor')
    this.#limitStart(this.#settings.startupTimeout)
    this.#effects.adopt()
  }

  /** Nothing says any more why it stops; what a supervisor is started for is that it runs. */
  #adoptStopping(): void {
    const reason = 'it was stopping when its supervisor ended'
    this.#afterStop = 'restart'
    this.#enter('stopping', reason)
    this.#effects.adopt()
    this.#effects.terminate(reason, 'restart')
  }

  #onGate(open: boolean): void {
    this.#gateOpen = open
    if (this.#phase === 'waiting' && open) this.#spawnWhenOpen('what it depends on is ready')
  }

  #onListening(): void {
    if (this.#phase !== 'starting') return
    const { health } = this.#settings
    if (health === false) return this.#becomeReady('it has started')
    this.#enter('probing', 'it listens')
    this.#effects.probe(health.timeout)
  }

  #onProbed(event: Answer): void {
    const { health } = this.#settings
    if (health === false) return
    if (this.#phase === 'probing') return this.#onStartProbe(event)
    if (isServing(this.#phase)) this.#onHealthProbe(event, health)
  }

  #onStartProbe({ responsive, healthy }: Answer): void {
    if (responsive && healthy) this.#becomeReady('it is healthy')
    else this.#probeAfter(startProbeInterval)
  }

  #onHealthProbe({ responsive, healthy, detail }: Answer, health: Probes): void {
    this.#missedProbes = responsive ? 0 : this.#missedProbes + 1
    if (this.#missedProbes >= health.retries)
      return this.#giveUp(`it did not answer ${this.#missedProbes} probes in a row`, hungGrace)
    const fine = responsive && healthy
    if (fine && this.#phase === 'unhealthy') this.#enter('ready', 'it is healthy again')
    if (!fine && this.#phase === 'ready') this.#enter('unhealthy', detail)
    this.#probeAfter(responsive ? health.interval : Math.min(health.interval, suspicionInterval))
  }

  #onStopping(): void {
    if (!isAlive(this.#phase)) return
    this.#timers.disarm('startup', 'probe', 'healthy')
    this.#afterStop = 'as it ends'
    this.#enter('stopping', 'it has begun to stop by itself')
  }

  #onGone(event: Extract<ProcessEvent, { type: 'gone' }>): void {
    this.#timers.disarm('startup', 'probe', 'healthy')
    if (this.#phase === 'stopping' && this.#afterStop !== 'as it ends')
      return this.#onStopped(this.#afterStop, event.reason)
    if (!isAlive(this.#phase) && this.#phase !== 'stopping') return
    if (this.#settings.kind === 'task' && event.success) this.#enter('completed', event.reason)
    else this.#crash(event.reason, event.permanent)
  }

  #onStopped(next: Exclude<AfterStop, 'as it ends'>, reason: string): void {
    if (next === 'stopped') this.#enter('stopped', reason)
    else if (next === 'restart') this.#spawnWhenOpen('starting again')
    else this.#crash(next.crash)
  }

  #onStop({ reason, forGood = false }: Extract<ProcessEvent, { type: 'stop' }>): void {
    this.#retired ||= forGood
    if (this.#phase === 'stopping') this.#afterStop = 'stopped'
    else if (isAlive(this.#phase)) this.#terminate(reason, 'stopped', 'shutdown')
    else if (this.#phase !== 'stopped') {
      this.#timers.disarm('backoff')
      this.#enter('stopped', reason)
    }
  }

  #onRestart({ reason, cause = 'restart' }: Extract<ProcessEvent, { type: 'restart' }>): void {
    if (this.#retired) return
    this.#exhausted = false
    if (this.#phase === 'stopping') this.#afterStop = 'restart'
    else if (isAlive(this.#phase)) this.#terminate(reason, 'restart', cause)
    else {
      this.#timers.disarm('backoff')
      if (this.#phase === 'failed') this.#budget.reset()
      this.#spawnWhenOpen(reason)
    }
  }

  #enter(to: ProcessPhase, reason: string, delay?: number): void {
    const from = this.#phase
    this.#phase = to
    this.#since = this.#clock.now()
    this.#effects.changed({ from, to, reason, ...(delay === undefined ? {} : { delay }) })
  }

  #spawnWhenOpen(reason: string): void {
    if (this.#phase !== 'waiting') this.#enter('waiting', reason)
    if (!this.#gateOpen) return
    this.#wasReady = false
    this.#missedProbes = 0
    this.#enter('starting', reason)
    this.#limitStart(this.#settings.startupTimeout)
    this.#effects.spawn()
  }

  /** A supervisor that was suspended hears first what its child has said meanwhile. */
  #limitStart(ms: number): void {
    const { startupTimeout, kind } = this.#settings
    const due = this.#clock.monotonic() + ms
    this.#timers.arm('startup', ms, () => {
      const late = this.#clock.monotonic() - due
      if (late > suspended) return this.#limitStart(Math.min(late, startupTimeout))
      this.#giveUp(`it was not ${kind === 'task' ? 'done' : 'ready'} within ${startupTimeout} ms`)
    })
  }

  #becomeReady(reason: string): void {
    this.#timers.disarm('startup')
    this.#exhausted = false
    this.#wasReady = true
    this.#missedProbes = 0
    this.#enter('ready', reason)
    this.#timers.arm('healthy', this.#supervision.window, () => {
      this.#failures = 0
    })
    if (this.#settings.health !== false) this.#probeAfter(this.#settings.health.interval)
  }

  #probeAfter(ms: number): void {
    const { health } = this.#settings
    if (health !== false) this.#timers.arm('probe', ms, () => this.#effects.probe(health.timeout))
  }

  /** Ends a child that runs but is of no use; that counts as a crash. */
  #giveUp(reason: string, graceMs?: number): void {
    this.#terminate(reason, { crash: reason }, 'failure', graceMs)
  }

  #terminate(reason: string, then: AfterStop, cause: StopReason, graceMs?: number): void {
    this.#timers.disarm('startup', 'probe', 'backoff', 'healthy')
    this.#afterStop = then
    this.#enter('stopping', reason)
    this.#effects.terminate(reason, cause, graceMs)
  }

  #crash(reason: string, permanent = false): void {
    const { kind, restartsForever } = this.#settings
    this.#timers.disarm('startup', 'probe', 'backoff', 'healthy')
    this.#lastFailure = reason
    this.#failures += 1
    this.#exhausted = this.#budget.spend(this.#clock.monotonic()) || permanent || kind === 'task'
    if (!this.#exhausted || restartsForever) return this.#backOff(reason)
    this.#enter('failed', reason)
    this.#effects.exhausted(reason)
  }

  #backOff(reason: string): void {
    const { backoff } = this.#supervision
    const delay = this.#exhausted
      ? backoff.max
      : backoffDelay(backoff, this.#failures, this.#wasReady, this.#random())
    this.#enter('backoff', reason, delay)
    this.#effects.crashed()
    this.#timers.arm('backoff', delay, () => {
      this.#restarts += 1
      this.#spawnWhenOpen('starting again')
    })
  }
}

/** There is a child. */
export function isAlive(phase: ProcessPhase): boolean {
  return phase === 'starting' || phase === 'probing' || phase === 'ready' || phase === 'unhealthy'
}

/** Its child has been ready, and has not ended. */
export function isServing(phase: ProcessPhase): boolean {
  return phase === 'ready' || phase === 'unhealthy'
}

/** What a dependent waits for. */
export function isSatisfied(phase: ProcessPhase): boolean {
  return phase === 'ready' || phase === 'completed'
}
