import { probePrivately } from './probe-privately.ts'
import type { Generation, GenerationListener } from '../generation.ts'
import type { PlannedProcess } from '../../plan/plan.ts'
import type { SupervisorClock } from '../timers.ts'

export interface ReloadOptions {
  readonly planned: PlannedProcess
  readonly clock: SupervisorClock
  /** The path that its private sockets begin with. */
  readonly standby: string
  /** Starts the generation that is to take over. */
  readonly start: (listener: GenerationListener) => Generation
  /** Aborts when the process is no longer to be reloaded, e.g. because it stops. */
  readonly signal: AbortSignal
}

type Probes = Exclude<PlannedProcess['health'], false>

/** Between two probes of one that stands by, in milliseconds. */
const probePause = 200

/**
 * Starts another generation of a process beside the one that serves, and lets it take clients when it has passed its gate:
 * it has started, its health is good, and each of its private sockets answers HTTP.
 *
 * @returns the generation that serves from now on.
 * @throws Error saying why it did not pass; then it is gone, and no client has met it.
 */
export async function startSuccessor(options: ReloadOptions): Promise<Generation> {
  const { planned, clock, signal } = options
  const standingBy = Promise.withResolvers<void>()
  const listening = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<void>()
  const failed = Promise.withResolvers<never>()
  let onProbed: (problem: string | undefined) => void = () => undefined
  const problems = [standingBy, listening, failed] as const
  for (const { promise } of problems) promise.catch(() => undefined)
  const fail = (reason: string): void => failed.reject(new Error(reason))

  const generation = options.start({
    standingBy: standingBy.resolve,
    stopping: () => undefined,
    listening: listening.resolve,
    probed: ({ healthy, detail }) => onProbed(healthy ? undefined : detail),
    gone({ reason }) {
      fail(reason)
      gone.resolve()
    },
  })
  const onAbort = (): void => fail((signal.reason as Error).message)
  signal.addEventListener('abort', onAbort, { once: true })

  async function step(name: string, work: Promise<unknown>): Promise<void> {
    const { startupTimeout } = planned
    const timer = clock.setTimeout(() => fail(`${name} took more than ${startupTimeout} ms`), startupTimeout)
    try {
      await Promise.race([work, failed.promise])
    } finally {
      clock.clearTimeout(timer)
    }
  }

  /** As for one that serves, a single probe that is late on a busy machine is no verdict. */
  async function assertHealthy({ timeout, retries }: Probes): Promise<void> {
    let problem: string | undefined
    for (let attempt = 0; attempt < Math.max(1, retries); attempt++) {
      problem = await new Promise((resolve) => {
        onProbed = resolve
        generation.probe(timeout)
      })
      if (problem === undefined) return
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, probePause))
    }
    throw new Error(problem)
  }

  try {
    await step('its start', standingBy.promise)
    if (planned.health !== false) await step('its health', assertHealthy(planned.health))
    const transports = Object.entries(generation.urls).filter(([, url]) => url.startsWith('unix:'))
    for (const [transport] of transports)
      await step(`an answer of "${transport}"`, probePrivately(`${options.standby}.${transport}.sock`))
    generation.takeOver()
    await step('taking over', listening.promise)
    return generation
  } catch (error) {
    generation.terminate('failure')
    await gone.promise
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
