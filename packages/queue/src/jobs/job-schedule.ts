import { type Duration, systemPrincipal } from '@quintet/core'
import { assertName, parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import type { Queue as BullQueue } from 'bullmq'
import { bullOptions } from './bull-options.ts'
import type { JobDefinition } from './define-job.ts'
import type { EnvelopeAddress, EnvelopeSigner } from './envelope.ts'
import { serializePayload } from './payload.ts'

/** When a system job runs by itself, and with what. */
export interface JobSchedule {
  /** A span between two runs; give this or `cron`. */
  readonly every?: Duration
  /** A cron expression of five or six fields; give this or `every`. */
  readonly cron?: string
  /** The time zone of `cron`, e.g. `'Europe/Berlin'`. @defaultValue `'UTC'` */
  readonly timeZone?: string
  readonly payload: unknown
  /** The tenant that the job works for. @defaultValue none */
  readonly tenantId?: string
  /** Tells several schedules of one job apart. @defaultValue `'default'` */
  readonly name?: string
}

/** @throws TypeError for options that are unknown or make no sense, and for a job that is none of the system's. */
export function assertSchedule(job: JobDefinition, schedule: JobSchedule): void {
  const { name = 'default', every, cron, timeZone } = schedule
  const path = `schedule ${job.name}`
  assertName(name, `${path}: name`)
  refuseUnknownKeys(schedule, ['every', 'cron', 'timeZone', 'payload', 'tenantId', 'name'], path)
  if (job.operation.access !== 'system') {
    throw new TypeError(
      `${path}: only a job with access: 'system' can run by a schedule; no user asks for it.`,
    )
  }
  if ((every === undefined) === (cron === undefined))
    throw new TypeError(`${path}: needs either every or cron.`)
  if (every !== undefined && parseDuration(every, `${path}: every`) < 100) {
    throw new TypeError(`${path}: every must be at least 100 ms.`)
  }
  if (timeZone !== undefined && cron === undefined)
    throw new TypeError(`${path}: timeZone has a meaning for cron only.`)
}

interface ScheduleParts {
  readonly job: JobDefinition
  readonly prefix: string
  readonly signer: EnvelopeSigner
  readonly schedule: JobSchedule
}

export async function upsertJobSchedule(
  queue: BullQueue,
  { job, prefix, signer, schedule }: ScheduleParts,
): Promise<void> {
  assertSchedule(job, schedule)
  const { name = 'default', every, cron = '', timeZone = 'UTC', tenantId = null } = schedule
  const id = scheduleId(name)
  const text = await serializePayload(job, schedule.payload)
  const data = signer.seal(
    { prefix, job: job.name, id },
    systemPrincipal(`schedule:${name}`, tenantId),
    text,
    undefined,
  )
  const repeat = every === undefined ? { pattern: cron, tz: timeZone } : { every: parseDuration(every) }
  await queue.upsertJobScheduler(id, repeat, { name: job.name, data, opts: bullOptions(job) })
}

export function removeJobSchedule(queue: BullQueue, name = 'default'): Promise<boolean> {
  return queue.removeJobScheduler(scheduleId(name))
}

function scheduleId(name: string): string {
  return `schedule-${name}`
}

/**
 * The address that the envelope of a job was sealed for. The jobs of one schedule share an envelope, sealed for the
 * schedule: BullMQ gives each an id of its own, `repeat:<schedule>:<time>`.
 */
export function addressOf(prefix: string, job: string, id: string): EnvelopeAddress {
  const [repeat, schedule, time] = id.split(':')
  const scheduled = repeat === 'repeat' && schedule?.startsWith('schedule-') === true && time !== undefined
  return { prefix, job, id: scheduled ? schedule : id }
}
