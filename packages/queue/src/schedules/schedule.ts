import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Schema, Transport } from '@quintet/core'
import type { RunningTransport, TransportHost } from '@quintet/core/kit'
import { bullOptions } from '../jobs/bull-options.ts'
import type { Queue } from '../jobs/create-queue.ts'
import type { JobDefinition } from '../jobs/define-job.ts'
import {
  resolveSchedule,
  schedulePrincipal,
  type JobSchedule,
  type ResolvedSchedule,
} from './job-schedule.ts'
import { serializePayload } from '../jobs/payload.ts'
import { createScheduleState, type ScheduleState } from './schedule-state.ts'

export interface ScheduleOptions<Payload extends Schema, Services = unknown> extends JobSchedule<Payload> {
  /** Where the jobs go. A function gets the services of the process when the schedule starts. */
  readonly queue: Queue | ((services: Services) => Queue)
}

/** Looks at the state at least this often, so that a change of it is noticed, in milliseconds. */
const longestSleep = 10_000
/** A slot further ahead than this cannot have run: the state is repaired, in milliseconds. */
const clockTolerance = 60_000
const retryPause = 1_000

/**
 * Makes a schedule for a job with access `'system'`, to be listed under `workers` of a process. However many processes
 * have it, each slot runs once; one that was missed while none of them ran is made up for once, when the first starts.
 * The clock is that of Redis.
 *
 * Of processes that declare it differently, as in a rolling deployment, the declaration that came last applies, until
 * none of its processes runs.
 *
 * @throws TypeError for options that are unknown or make no sense, and for a job that is none of the system's.
 *
 * @example
 * const nightly = schedule(sweep, { queue, cron: '0 3 * * *', timeZone: 'Europe/Berlin', payload: {} })
 */
export function schedule<Payload extends Schema, Services = unknown>(
  job: JobDefinition<Payload>,
  options: ScheduleOptions<Payload, Services>,
): Transport {
  const { queue, ...timing } = options
  const resolved = resolveSchedule(job, timing)
  if (queue === undefined) throw new TypeError(`schedule ${job.name}: needs a queue.`)
  return {
    name: `schedule:${job.name}:${resolved.name}`,
    // The process hands over what its setup returned; the author of the schedule says what that is.
    start: (host) =>
      startSchedule(
        job,
        typeof queue === 'function' ? queue(host.services as Services) : queue,
        resolved,
        host,
      ),
  }
}

async function startSchedule(
  job: JobDefinition,
  queue: Queue,
  planned: ResolvedSchedule,
  host: TransportHost,
): Promise<RunningTransport> {
  const text = await serializePayload(job, planned.payload)
  const declaration = createHash('sha256')
    .update(JSON.stringify([planned.timing, planned.tenantId ?? null, text]))
    .digest('base64url')
    .slice(0, 16)
  const state = createScheduleState(queue, scheduleKey(queue, job, planned.name), declaration)
  const addSlot = (slot: number, now: number) => addScheduledJob({ job, queue, planned, text, slot, now })
  const stopping = new AbortController()
  let ranLast: number | undefined
  let trouble: unknown
  let applies = true

  const runDue = async (): Promise<number> => {
    const due = await runDueSlot(planned, state, addSlot, ranLast)
    ranLast = due.last ?? ranLast
    if (applies && !due.applies) {
      const declared = { job: job.name, schedule: planned.name, tenant: planned.tenantId }
      host.logger.warn(declared, 'a schedule waits: another declaration under its name came later')
    }
    applies = due.applies
    return due.sleep
  }
  let sleep = await runDue()

  const work = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await delay(sleep, undefined, { signal: stopping.signal }).catch(() => undefined)
      if (stopping.signal.aborted) return
      try {
        sleep = await runDue()
        trouble = undefined
      } catch (error) {
        if (trouble === undefined)
          host.logger.warn({ err: error, job: job.name, schedule: planned.name }, 'a schedule cannot run now')
        trouble = error
        sleep = retryPause
      }
    }
  }
  const working = work()
  host.health.add({
    name: `schedule:${job.name}:${planned.name}`,
    critical: false,
    check: () =>
      trouble === undefined
        ? Promise.resolve(applies ? undefined : 'another declaration applies')
        : Promise.reject(new Error('the schedule cannot run now', { cause: trouble })),
  })
  const stop = (): Promise<void> => {
    stopping.abort()
    return Promise.race([working, delay(500)])
  }
  return { url: undefined, drain: stop, close: stop }
}

/** Adds the job of the latest slot if it is due and no process has; answers how long to sleep, in milliseconds. */
async function runDueSlot(
  { slots }: ResolvedSchedule,
  state: ScheduleState,
  addSlot: (slot: number, now: number) => Promise<void>,
  ranLast: number | undefined,
): Promise<{ readonly last: number | undefined; readonly sleep: number; readonly applies: boolean }> {
  const { now, last, applies } = await state.look()
  const sleep = Math.min(longestSleep, slots.next(now) - now + 1)
  if (!applies) return { last, sleep: longestSleep / 2, applies }
  const slot = slots.latest(now)
  // After FLUSHALL the state is gone, after a failover it may be older, and this process still knows.
  const known = last === undefined || ranLast === undefined ? (last ?? ranLast) : Math.max(last, ranLast)
  const broken = known !== undefined && known > now + clockTolerance
  const due = known === undefined ? slots.startsAtOnce : !broken && slot > known
  if (!due && !broken && last !== undefined) return { last: known, sleep, applies }
  if (!(await state.claim(last))) {
    return { last: broken ? last : known, sleep: Math.min(sleep, retryPause), applies }
  }
  if (due) await addSlot(slot, now)
  const ran = due || broken || known === undefined ? slot : known
  await state.confirm(ran)
  return { last: ran, sleep, applies }
}

interface ScheduledJob {
  readonly job: JobDefinition
  readonly queue: Queue
  readonly planned: ResolvedSchedule
  readonly text: string
  readonly slot: number
  readonly now: number
}

async function addScheduledJob({ job, queue, planned, text, slot, now }: ScheduledJob): Promise<void> {
  const id = `schedule-${planned.name}-${slot}`
  const address = { prefix: queue.prefix, job: job.name, id }
  const envelope = queue.signer.seal(address, schedulePrincipal(planned), text, {
    expiresAt: now + job.maxAge,
  })
  const options = bullOptions(job)
  await queue.ask(() =>
    queue.bull(job).add(job.name, envelope, {
      ...options,
      // Remembered for longer than a claim, so that a slot which is added again after a crash makes no second job.
      ...(options.removeOnComplete === true ? { removeOnComplete: { age: 60, count: 1_000 } } : {}),
      jobId: id,
      timestamp: now,
    }),
  )
}

function scheduleKey(queue: Queue, job: JobDefinition, name: string): string {
  return `${queue.prefix}:${job.name}:schedule:${name}`
}
