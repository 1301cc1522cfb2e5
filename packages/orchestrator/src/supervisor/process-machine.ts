import type { StopReason } from '@quintet/core'
import { backoffDelay } from './backoff.ts'
import { createCrashBudget } from './crash-budget.ts'
import type { SupervisorClock } from './timers.ts'
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

/** The life of one process: a mailbox, a phase, and rules for what each event does in each phase. */
export function createProcessMachine(options: MachineOptions): ProcessMachine {
  const { process: settings, supervision, effects, clock } = options
  const random = options.random ?? Math.random
  const budget = createCrashBudget(supervision)
  const timers = new Map<TimerName, unknown>()
  const mailbox: ProcessEvent[] = []
  let busy = false
  let phase: ProcessPhase = 'stopped'
  let since = clock.now()
  let restarts = options.restarts ?? 0
  let lastFailure: string | undefined
  let exhausted = false
  let gateOpen = false
  let wasReady = false
  /** Crashes and failed starts since it was last healthy for a whole window. */
  let failures = 0
  let missedProbes = 0
  let retired = false
  /** What comes when a stopping child is gone. */
  let afterStop: 'stopped' | 'restart' | 'as it ends' | { readonly crash: string } = 'stopped'

  function arm(name: TimerName, ms: number, run: () => void): void {
    disarm(name)
    timers.set(
      name,
      clock.setTimeout(() => {
        timers.delete(name)
        busy = true
        try {
          run()
        } finally {
          busy = false
        }
        drain()
      }, ms),
    )
  }

  function disarm(...names: TimerName[]): void {
    for (const name of names) {
      if (timers.has(name)) clock.clearTimeout(timers.get(name))
      timers.delete(name)
    }
  }

  function enter(to: ProcessPhase, reason: string, delay?: number): void {
    const from = phase
    phase = to
    since = clock.now()
    effects.changed({ from, to, reason, ...(delay === undefined ? {} : { delay }) })
  }

  function spawnWhenOpen(reason: string): void {
    if (phase !== 'waiting') enter('waiting', reason)
    if (!gateOpen) return
    wasReady = false
    missedProbes = 0
    enter('starting', reason)
    limitStart(settings.startupTimeout)
    effects.spawn()
  }

  /** A supervisor that was suspended hears first what its child has said meanwhile. */
  function limitStart(ms: number): void {
    const { startupTimeout } = settings
    const due = clock.monotonic() + ms
    arm('startup', ms, () => {
      const late = clock.monotonic() - due
      if (late > suspended) return limitStart(Math.min(late, startupTimeout))
      giveUp(`it was not ${settings.kind === 'task' ? 'done' : 'ready'} within ${startupTimeout} ms`)
    })
  }

  /** Ends a child that runs but is of no use; that counts as a crash. */
  function giveUp(reason: string, graceMs?: number): void {
    terminate(reason, { crash: reason }, 'failure', graceMs)
  }

  function terminate(reason: string, then: typeof afterStop, cause: StopReason, graceMs?: number): void {
    disarm('startup', 'probe', 'backoff', 'healthy')
    afterStop = then
    enter('stopping', reason)
    effects.terminate(reason, cause, graceMs)
  }

  function crash(reason: string, permanent = false): void {
    disarm('startup', 'probe', 'backoff', 'healthy')
    lastFailure = reason
    failures += 1
    exhausted = budget.spend(clock.monotonic()) || permanent || settings.kind === 'task'
    if (exhausted && !settings.restartsForever) {
      enter('failed', reason)
      effects.exhausted(reason)
      return
    }
    const delay = exhausted
      ? supervision.backoff.max
      : backoffDelay(supervision.backoff, failures, wasReady, random())
    enter('backoff', reason, delay)
    effects.crashed()
    arm('backoff', delay, () => {
      restarts += 1
      spawnWhenOpen('starting again')
    })
  }

  function probeAfter(ms: number): void {
    if (settings.health === false) return
    const { timeout } = settings.health
    arm('probe', ms, () => effects.probe(timeout))
  }

  function becomeReady(reason: string): void {
    disarm('startup')
    exhausted = false
    wasReady = true
    missedProbes = 0
    enter('ready', reason)
    arm('healthy', supervision.window, () => {
      failures = 0
    })
    if (settings.health !== false) probeAfter(settings.health.interval)
  }

  function onProbed(event: Extract<ProcessEvent, { type: 'probed' }>): void {
    if (settings.health === false) return
    const fine = event.responsive && event.healthy
    if (phase === 'probing') {
      if (fine) becomeReady('it is healthy')
      else probeAfter(startProbeInterval)
      return
    }
    missedProbes = event.responsive ? 0 : missedProbes + 1
    if (missedProbes >= settings.health.retries) {
      return giveUp(`it did not answer ${missedProbes} probes in a row`, hungGrace)
    }
    if (fine && phase === 'unhealthy') enter('ready', 'it is healthy again')
    if (!fine && phase === 'ready') enter('unhealthy', event.detail)
    const { interval } = settings.health
    probeAfter(event.responsive ? interval : Math.min(interval, suspicionInterval))
  }

  function onGone(event: Extract<ProcessEvent, { type: 'gone' }>): void {
    disarm('startup', 'probe', 'healthy')
    if (phase === 'stopping' && afterStop !== 'as it ends') {
      const next = afterStop
      if (next === 'stopped') return enter('stopped', event.reason)
      if (next === 'restart') return spawnWhenOpen('starting again')
      return crash(next.crash)
    }
    if (!isAlive(phase) && phase !== 'stopping') return
    if (settings.kind === 'task' && event.success) return enter('completed', event.reason)
    crash(event.reason, event.permanent)
  }

  /** Nothing says any more why it stops; what a supervisor is started for is that it runs. */
  function adoptStopping(): void {
    const reason = 'it was stopping when its supervisor ended'
    afterStop = 'restart'
    enter('stopping', reason)
    effects.adopt()
    effects.terminate(reason, 'restart')
  }

  function handle(event: ProcessEvent): void {
    if (retired && (event.type === 'start' || event.type === 'restart')) return
    switch (event.type) {
      case 'start':
        if (phase === 'stopping') afterStop = 'restart'
        if (phase === 'stopped' || phase === 'failed' || phase === 'backoff') {
          disarm('backoff')
          budget.reset()
          exhausted = false
          failures = 0
          spawnWhenOpen('it is to start')
        }
        return
      case 'adopt':
        if (phase !== 'stopped') return
        wasReady = settings.kind === 'service'
        if (event.stopping) return adoptStopping()
        enter('starting', 'it went on without its supervisor')
        limitStart(settings.startupTimeout)
        return effects.adopt()
      case 'gate':
        gateOpen = event.open
        if (phase === 'waiting' && gateOpen) spawnWhenOpen('what it depends on is ready')
        return
      case 'listening':
        if (phase !== 'starting') return
        if (settings.health === false) return becomeReady('it has started')
        enter('probing', 'it listens')
        return effects.probe(settings.health.timeout)
      case 'probed':
        if (phase === 'probing' || phase === 'ready' || phase === 'unhealthy') onProbed(event)
        return
      case 'stopping':
        if (!isAlive(phase)) return
        disarm('startup', 'probe', 'healthy')
        afterStop = 'as it ends'
        return enter('stopping', 'it has begun to stop by itself')
      case 'gone':
        return onGone(event)
      case 'stop':
        retired ||= event.forGood ?? false
        if (phase === 'stopping') afterStop = 'stopped'
        else if (isAlive(phase)) terminate(event.reason, 'stopped', 'shutdown')
        else if (phase !== 'stopped') {
          disarm('backoff')
          enter('stopped', event.reason)
        }
        return
      case 'restart':
        exhausted = false
        if (phase === 'stopping') afterStop = 'restart'
        else if (isAlive(phase)) terminate(event.reason, 'restart', event.cause ?? 'restart')
        else {
          disarm('backoff')
          if (phase === 'failed') budget.reset()
          spawnWhenOpen(event.reason)
        }
    }
  }

  function drain(): void {
    if (busy) return
    busy = true
    try {
      for (let event = mailbox.shift(); event; event = mailbox.shift()) handle(event)
    } finally {
      busy = false
    }
  }

  return {
    get phase() {
      return phase
    },
    get restarts() {
      return restarts
    },
    get since() {
      return since
    },
    get exhausted() {
      return exhausted
    },
    get lastFailure() {
      return lastFailure
    },
    send(event) {
      mailbox.push(event)
      drain()
    },
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
