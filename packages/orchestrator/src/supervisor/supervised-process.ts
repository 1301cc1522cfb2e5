import type { HealthReport } from '@quintet/core'
import type { ChannelListener, ProcessChannel, ProcessChannels } from '../control/process-channels.ts'
import { controlVariables } from '../control/messages.ts'
import type { ProcessLog } from '../logs/process-log.ts'
import type { Plan, PlannedProcess } from '../plan/plan.ts'
import type { Guardian } from '../processes/guardian.ts'
import type { ProcessMark } from '../processes/process-mark.ts'
import { startChild, type Child, type ChildOptions } from './child.ts'
import { createProcessMachine, type ProcessMachine, type ProcessTransition } from './process-machine.ts'
import type { SupervisorClock } from './timers.ts'

export interface SupervisedProcessOptions {
  readonly planned: PlannedProcess
  readonly supervision: Plan['supervision']
  readonly clock: SupervisorClock
  readonly channels: ProcessChannels
  readonly guardian: Guardian
  readonly log: ProcessLog
  /** The mark of the next child. */
  readonly mark: () => ProcessMark
  /** What it gets beside the means to reach us. */
  readonly environment: () => Readonly<Record<string, string>>
  readonly ports: Readonly<Record<string, number>>
  readonly onChange: (transition: ProcessTransition) => void
  readonly onCrash: () => void
  readonly onExhausted: (reason: string) => void
  /** @defaultValue `startChild` */
  readonly spawn?: typeof startChild
  /** What an earlier supervisor has left. */
  readonly adopted?: AdoptedProcess | undefined
}

export interface AdoptedProcess {
  readonly generation: number
  readonly mark: ProcessMark
  /** By the wall clock. */
  readonly startedAt: number
  /** How often it was started again after a crash. */
  readonly restarts: number
  /** It was started with something else than it would be now. */
  readonly isStale: boolean
  readonly attach: (options: Omit<ChildOptions, 'env'>) => Child
}

/** One process of the plan with its machine, its child and its log. */
export interface SupervisedProcess {
  readonly planned: PlannedProcess
  readonly machine: ProcessMachine
  readonly log: ProcessLog
  readonly pid: number | undefined
  /** Since when the child runs, by the wall clock. */
  readonly startedAt: number | undefined
  /** Where its transports listen. */
  readonly urls: Readonly<Record<string, string>>
  readonly report: HealthReport | undefined
  /** Ends the child at once, without asking it. */
  kill(): void
}

export function createSupervisedProcess(options: SupervisedProcessOptions): SupervisedProcess {
  const { planned, clock, log } = options
  let child: Child | undefined
  let channel: ProcessChannel | undefined
  let startedAt: number | undefined
  let urls: Readonly<Record<string, string>> = {}
  let report: HealthReport | undefined
  let problem: string | undefined
  let permanent = false
  let generation = options.adopted?.generation ?? 0
  let probeNumber = 0
  let probing = false
  let probeTimer: unknown

  function spawn(): void {
    generation += 1
    run(options.mark(), clock.now(), (child, token) =>
      (options.spawn ?? startChild)({
        ...child,
        env: {
          ...options.environment(),
          QUINTET_PORTS: JSON.stringify(options.ports),
          [controlVariables.socket]: options.channels.path,
          [controlVariables.token]: token,
        },
      }),
    )
  }

  function adopt(): void {
    const { adopted } = options
    if (adopted) run(adopted.mark, adopted.startedAt, adopted.attach)
  }

  function run(
    mark: ProcessMark,
    since: number,
    start: (child: Omit<ChildOptions, 'env'>, token: string) => Child,
  ): void {
    probing = true
    urls = {}
    report = undefined
    problem = undefined
    permanent = false
    const listener: ChannelListener = {
      ready(found) {
        urls = found
        machine.send({ type: 'listening' })
      },
      report(probe, answer) {
        if (probe !== probeNumber) return
        clock.clearTimeout(probeTimer)
        report = answer
        machine.send({
          type: 'probed',
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
    const opened = options.channels.open(listener, mark.variable)
    channel = opened
    const started = start(
      {
        process: planned,
        generation,
        restarts: machine.restarts,
        ports: Object.values(options.ports),
        mark,
        output: {
          stdout: (stream) => log.consume(stream, 'stdout'),
          stderr: (stream) => log.consume(stream, 'stderr'),
        },
        exited() {
          // What is swept up behind it takes a while; it answers no probe meanwhile, and that is not its failure.
          probing = false
          clock.clearTimeout(probeTimer)
        },
        gone(ending) {
          if (started.pid !== undefined) options.guardian.remove(-started.pid)
          opened.close()
          clock.clearTimeout(probeTimer)
          child = undefined
          startedAt = undefined
          const reason = problem === undefined ? ending.reason : `${problem} (${ending.reason})`
          machine.send({
            type: 'gone',
            reason,
            success: ending.success,
            permanent: permanent || ending.permanent === true,
          })
        },
      },
      opened.token,
    )
    child = started
    startedAt = since
    if (started.pid !== undefined) options.guardian.add(-started.pid)
  }

  function probe(timeoutMs: number): void {
    if (!probing) return
    probeNumber += 1
    const failed = (detail: string): void =>
      machine.send({ type: 'probed', responsive: false, healthy: false, detail })
    probeTimer = clock.setTimeout(() => {
      // An answer that comes later is dropped.
      probeNumber += 1
      failed(`it did not answer a probe within ${timeoutMs} ms`)
    }, timeoutMs)
    // Not connected: the timeout speaks for it, so that a process which reconnects in time loses nothing.
    channel?.send({ type: 'probe', probe: probeNumber })
  }

  const machine = createProcessMachine({
    process: planned,
    supervision: options.supervision,
    clock,
    restarts: options.adopted?.restarts,
    effects: {
      spawn,
      adopt,
      terminate(reason, cause, graceMs) {
        clock.clearTimeout(probeTimer)
        channel?.send({ type: 'stopping', reason: cause })
        log.note(`stopping: ${reason}`)
        child?.terminate(graceMs)
      },
      probe,
      changed: options.onChange,
      crashed: options.onCrash,
      exhausted: options.onExhausted,
    },
  })

  return {
    planned,
    machine,
    log,
    get pid() {
      return child?.pid
    },
    get startedAt() {
      return startedAt
    },
    get urls() {
      return urls
    },
    get report() {
      return report
    },
    kill: () => child?.kill(),
  }
}

function describeReport(report: HealthReport): string {
  const failing = Object.entries(report.checks).filter(([, check]) => check.status === 'fail')
  if (failing.length === 0) return `its health is ${report.status}`
  return failing.map(([name, check]) => `${name}: ${check.detail ?? 'fails'}`).join('; ')
}
