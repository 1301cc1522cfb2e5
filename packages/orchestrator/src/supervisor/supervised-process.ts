import type { HealthReport, StopReason } from '@quintet/core'
import type { ProcessChannels } from '../control/process-channels.ts'
import type { ProcessLog } from '../logs/process-log.ts'
import type { Plan, PlannedProcess } from '../plan/plan.ts'
import type { Guardian } from '../processes/guardian.ts'
import type { ProcessMark } from '../processes/process-mark.ts'
import { startChild, type Child, type ChildOptions } from './child.ts'
import { startGeneration, type Generation, type GenerationListener } from './generation.ts'
import {
  createProcessMachine,
  isServing,
  type ProcessMachine,
  type ProcessTransition,
} from './process-machine.ts'
import { startSuccessor } from './reload/start-successor.ts'
import { isOver } from '../running/process-phase.ts'
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
  /** Its environment, but for how it finds its supervisor and its ports. */
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

/** A generation that an earlier supervisor has left. */
export interface AdoptedGeneration {
  readonly generation: number
  readonly mark: ProcessMark
  /** By the wall clock. */
  readonly startedAt: number
  /** It has not taken over yet. */
  readonly standby?: true
  /** It was stopping. */
  readonly stopping?: true
}

export interface AdoptedProcess extends AdoptedGeneration {
  /** Those beside it: they have given way, or had not taken over yet. */
  readonly others: readonly AdoptedGeneration[]
  /** The highest number that a generation of the process has had. */
  readonly lastNumber: number
  /** How often it was started again after a crash. */
  readonly restarts: number
  /** It was started with something else than it would be now. */
  readonly isStale: boolean
  readonly attach: (options: Omit<ChildOptions, 'env'>) => Child
}

/** One process of the plan with its machine, its generations and its log. */
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
  /**
   * Puts a new generation in the place of the one that serves; resolves when it has taken over. The old one gives way, and
   * ends when its clients have gone to the new one. One at a time, and only while it serves.
   *
   * @param standby the path that the private sockets of the new generation begin with.
   * @throws Error saying why the new generation did not take over; the old one goes on.
   */
  reload(standby: string): Promise<void>
  /** Ends the generations that give way; resolves when they are gone. */
  endRetiring(): Promise<void>
  /** Ends the child at once, without asking it. */
  kill(): void
}

export function createSupervisedProcess(options: SupervisedProcessOptions): SupervisedProcess {
  const { planned, clock, log, adopted } = options
  let current: Generation | undefined
  let lastNumber = adopted?.lastNumber ?? 0
  /** One that is to take over. */
  let successor: Generation | undefined
  /** Those that give way, and when they are gone. */
  const retiring = new Map<Generation, Promise<void>>()
  let reloading: AbortController | undefined

  function startNext(listener: GenerationListener, standby?: string): Generation {
    lastNumber += 1
    return generationOf(lastNumber, options.mark(), clock.now(), listener, standby, (child, control) =>
      (options.spawn ?? startChild)({
        ...child,
        env: { ...options.environment(), ...portVariables(planned, options.ports), ...control },
      }),
    )
  }

  function generationOf(
    number: number,
    mark: ProcessMark,
    startedAt: number,
    listener: GenerationListener,
    standby: string | undefined,
    start: (child: Omit<ChildOptions, 'env'>, control: Readonly<Record<string, string>>) => Child,
  ): Generation {
    const { channels, guardian, ports } = options
    const { restarts } = machine
    return startGeneration({
      ...{ planned, number, mark, startedAt, restarts, ports, standby, clock, channels, guardian, log },
      listener,
      start,
    })
  }

  /** What the machine hears of the generation that serves. */
  const served: GenerationListener = {
    standingBy: () => undefined,
    listening: () => machine.send({ type: 'listening' }),
    stopping: () => machine.send({ type: 'stopping' }),
    probed: (answer) => machine.send({ type: 'probed', ...answer }),
    gone({ reason, success, permanent = false }) {
      current = undefined
      reloading?.abort(new Error('the generation that served has ended'))
      machine.send({ type: 'gone', reason, success, permanent })
    },
  }

  async function reload(standby: string, signal: AbortSignal): Promise<void> {
    try {
      const start = (listener: GenerationListener): Generation => (successor = startNext(listener, standby))
      const next = await startSuccessor({ planned, clock, standby, signal, start })
      if (current) retire(current)
      current = next
      next.tell(served)
    } finally {
      successor = undefined
    }
    // A probe that the old one has not answered is forgotten with it.
    if (planned.health !== false) current.probe(planned.health.timeout)
  }

  function retire(generation: Generation): void {
    const { promise, resolve } = Promise.withResolvers<void>()
    retiring.set(generation, promise)
    generation.tell({
      ...ignored,
      gone({ reason }) {
        retiring.delete(generation)
        log.note(`the generation that gave way has ended: ${reason}`)
        resolve()
      },
    })
    generation.giveWay()
  }

  function endRetiring(cause: StopReason): void {
    for (const each of retiring.keys()) each.terminate(cause)
  }

  function terminate(reason: string, cause: StopReason, graceMs?: number): void {
    reloading?.abort(new Error(reason))
    log.note(`stopping: ${reason}`)
    endRetiring(cause)
    current?.terminate(cause, graceMs)
  }

  const machine = createProcessMachine({
    process: planned,
    supervision: options.supervision,
    clock,
    restarts: adopted?.restarts,
    effects: {
      spawn() {
        current = startNext(served)
      },
      adopt() {
        if (!adopted) return
        const attach = (each: AdoptedGeneration, listener: GenerationListener): Generation =>
          generationOf(each.generation, each.mark, each.startedAt, listener, undefined, adopted.attach)
        current = attach(adopted, served)
        for (const each of adopted.others) {
          const other = attach(each, ignored)
          retire(other)
          if (each.standby) other.terminate('failure')
        }
      },
      terminate,
      probe: (timeoutMs) => current?.probe(timeoutMs),
      changed(transition) {
        // Its clients are to be refused, and not to wait for what will not come.
        if (isOver(transition.to)) endRetiring('failure')
        options.onChange(transition)
      },
      crashed: options.onCrash,
      exhausted: options.onExhausted,
    },
  })

  return {
    planned,
    machine,
    log,
    get pid() {
      return current?.pid
    },
    get startedAt() {
      return current?.startedAt
    },
    get urls() {
      return current?.urls ?? {}
    },
    get report() {
      return current?.report
    },
    async reload(standby) {
      if (reloading) throw new Error('it is being reloaded already')
      if (!isServing(machine.phase)) throw new Error(`it is ${machine.phase}`)
      const abort = new AbortController()
      reloading = abort
      try {
        await reload(standby, abort.signal)
      } finally {
        reloading = undefined
      }
    },
    async endRetiring() {
      endRetiring('shutdown')
      await Promise.all(retiring.values())
    },
    kill() {
      for (const each of [current, successor, ...retiring.keys()]) each?.kill()
    },
  }
}

/** How a process learns its ports. */
function portVariables(
  { isCommand }: PlannedProcess,
  ports: Readonly<Record<string, number>>,
): Record<string, string> {
  if (!isCommand) return { QUINTET_PORTS: JSON.stringify(ports) }
  const main = ports['http'] ?? Object.values(ports)[0]
  const named = Object.entries(ports).map(([name, port]) => [
    `PORT_${name.toUpperCase().replaceAll('-', '_')}`,
    String(port),
  ])
  return { ...Object.fromEntries(named), ...(main === undefined ? {} : { PORT: String(main) }) }
}

const ignored: GenerationListener = {
  standingBy: () => undefined,
  listening: () => undefined,
  stopping: () => undefined,
  probed: () => undefined,
  gone: () => undefined,
}
