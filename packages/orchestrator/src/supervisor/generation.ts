import type { HealthReport, StopReason } from '@quintet/core'
import { controlVariables, standbyVariable } from '../control/messages.ts'
import type { ChannelListener, ProcessChannels } from '../control/process-channels.ts'
import type { ProcessLog } from '../logs/process-log.ts'
import type { PlannedProcess } from '../plan/plan.ts'
import type { Guardian } from '../processes/guardian.ts'
import type { ProcessMark } from '../processes/process-mark.ts'
import { askCommand, type AskedAt } from './probes/ask-command.ts'
import type { ProbeAnswer } from './probes/probe-answer.ts'
import type { Child, ChildEnding, ChildOptions } from './child.ts'
import type { SupervisorClock } from './timers.ts'

/** What happens to a generation. */
export interface GenerationListener {
  /** It takes clients. */
  listening(): void
  /** It has started and waits until it is told to take over. */
  standingBy(): void
  /** It has begun to stop, and ends. */
  stopping(): void
  /** The answer to a probe; `responsive` is false when there was none in time. */
  probed(answer: ProbeAnswer): void
  /** It and everything it started are gone. */
  gone(ending: ChildEnding): void
}

export interface GenerationOptions {
  readonly planned: PlannedProcess
  readonly number: number
  readonly mark: ProcessMark
  /** By the wall clock. */
  readonly startedAt: number
  /** How often the process was started again after a crash, up to now. */
  readonly restarts: number
  readonly ports: Readonly<Record<string, number>>
  /** Where it listens until it takes over; undefined for one that takes clients at once. */
  readonly standby?: string | undefined
  readonly clock: SupervisorClock
  readonly channels: ProcessChannels
  readonly guardian: Guardian
  readonly log: ProcessLog
  readonly listener: GenerationListener
  /** @param control what the process finds its supervisor by. */
  readonly start: (child: Omit<ChildOptions, 'env'>, control: Readonly<Record<string, string>>) => Child
}

/** One child of a process, with its way to the supervisor. */
export interface Generation {
  readonly number: number
  readonly pid: number | undefined
  readonly startedAt: number
  readonly urls: Readonly<Record<string, string>>
  readonly report: HealthReport | undefined
  /** Asks for its health; the listener is told within the given time, unless it has ended. */
  probe(timeoutMs: number): void
  /** Another one is told from now on. */
  tell(listener: GenerationListener): void
  /** Ends its standby. */
  takeOver(): void
  /** Tells it that another one has taken over: it ends when its clients have gone there. */
  giveWay(): void
  /** SIGTERM, after it was told why. */
  terminate(cause: StopReason, graceMs?: number): void
  kill(): void
}

/** How long a generation may take to give way, in milliseconds; a process ends sooner unless it hangs. */
const longestGivingWay = 150_000

export function startGeneration(options: GenerationOptions): Generation {
  const { planned, number, clock, log } = options
  let { listener } = options
  let urls: Readonly<Record<string, string>> = {}
  let report: HealthReport | undefined
  let problem: string | undefined
  let permanent = false
  let ended = false
  let probeNumber = 0
  let probeTimer: unknown
  let givesWay = false
  let givingWayTimer: unknown

  const heard: ChannelListener = {
    ready(found) {
      urls = found
      child.serves()
      // It was cut off when it was to be told, or an earlier supervisor was killed before it could tell.
      if (givesWay) channel.send({ type: 'give-way' })
      listener.listening()
    },
    standby(found) {
      urls = found
      listener.standingBy()
    },
    stopping() {
      clock.clearTimeout(probeTimer)
      clock.clearTimeout(givingWayTimer)
      child.awaitEnd()
      listener.stopping()
    },
    report(probe, answer) {
      if (probe !== probeNumber) return
      clock.clearTimeout(probeTimer)
      report = answer
      listener.probed({
        responsive: true,
        healthy: answer.status !== 'fail',
        detail: describeReport(answer),
      })
    },
    startFailed(reason, isPermanent) {
      problem = reason
      permanent = isPermanent
    },
  }
  const channel = options.channels.open(heard, options.mark.variable)
  const { asked } = planned
  const askedAt: AskedAt | undefined = asked
    ? { port: options.ports[asked.transport] ?? 0, path: asked.path }
    : undefined
  const child = options.start(
    {
      process: planned,
      generation: number,
      restarts: options.restarts,
      standby: options.standby !== undefined,
      ports: Object.values(options.ports),
      mark: options.mark,
      output: {
        stdout: (stream) => log.consume(stream, 'stdout'),
        stderr: (stream) => log.consume(stream, 'stderr'),
      },
      exited() {
        // What is swept up behind it takes a while; it answers no probe meanwhile, and that is not its failure.
        ended = true
        clock.clearTimeout(probeTimer)
      },
      gone(ending) {
        if (child.pid !== undefined) options.guardian.remove(-child.pid)
        channel.close()
        clock.clearTimeout(probeTimer)
        clock.clearTimeout(givingWayTimer)
        listener.gone({
          ...ending,
          reason: problem === undefined ? ending.reason : `${problem} (${ending.reason})`,
          permanent: permanent || ending.permanent === true,
        })
      },
    },
    {
      ...(planned.isCommand
        ? {}
        : { [controlVariables.socket]: options.channels.path, [controlVariables.token]: channel.token }),
      ...(options.standby === undefined ? {} : { [standbyVariable]: options.standby }),
    },
  )
  if (child.pid !== undefined) options.guardian.add(-child.pid)
  if (planned.isCommand) {
    urls = urlsOf(options.ports)
    // It says nothing: it is asked until it answers. Not before whoever starts it has it.
    queueMicrotask(() => ended || listener.listening())
  }

  async function ask(at: AskedAt, number_: number, timeoutMs: number): Promise<void> {
    const answer = await askCommand(at, timeoutMs)
    if (number_ !== probeNumber || ended) return
    clock.clearTimeout(probeTimer)
    listener.probed(answer)
  }

  function terminate(cause: StopReason, graceMs?: number): void {
    clock.clearTimeout(probeTimer)
    clock.clearTimeout(givingWayTimer)
    channel.send({ type: 'stopping', reason: cause })
    child.terminate(graceMs)
  }

  return {
    number,
    startedAt: options.startedAt,
    get pid() {
      return child.pid
    },
    get urls() {
      return urls
    },
    get report() {
      return report
    },
    probe(timeoutMs) {
      if (ended) return
      clock.clearTimeout(probeTimer)
      probeNumber += 1
      probeTimer = clock.setTimeout(() => {
        // An answer that comes later is dropped.
        probeNumber += 1
        const detail = `it did not answer a probe within ${timeoutMs} ms`
        listener.probed({ responsive: false, healthy: false, detail })
      }, timeoutMs)
      if (askedAt) return void ask(askedAt, probeNumber, timeoutMs)
      // Not connected: the timeout speaks for it, so that a process which reconnects in time loses nothing.
      channel.send({ type: 'probe', probe: probeNumber })
    },
    tell(other) {
      listener = other
    },
    takeOver: () => void channel.send({ type: 'take-over' }),
    giveWay() {
      clock.clearTimeout(probeTimer)
      givesWay = true
      givingWayTimer = clock.setTimeout(() => terminate('deployment'), longestGivingWay)
      channel.send({ type: 'give-way' })
    },
    terminate,
    kill: () => child.kill(),
  }
}

function urlsOf(ports: Readonly<Record<string, number>>): Record<string, string> {
  return Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, `http://127.0.0.1:${port}`]))
}

function describeReport(report: HealthReport): string {
  const failing = Object.entries(report.checks).filter(([, check]) => check.status === 'fail')
  if (failing.length === 0) return `its health is ${report.status}`
  return failing.map(([name, check]) => `${name}: ${check.detail ?? 'fails'}`).join('; ')
}
