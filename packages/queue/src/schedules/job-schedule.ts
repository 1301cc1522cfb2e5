import { systemPrincipal, type Duration, type Schema, type SchemaInput } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { CronExpressionParser } from 'cron-parser'
import type { JobDefinition } from '../jobs/define-job.ts'

/** When a system job runs by itself, and with what. */
export interface JobSchedule<Payload extends Schema = Schema> {
  /** A span between two runs; give this or `cron`. */
  readonly every?: Duration
  /** A cron expression of five or six fields; give this or `every`. */
  readonly cron?: string
  /** The time zone of `cron`, e.g. `'Europe/Berlin'`. @defaultValue `'UTC'` */
  readonly timeZone?: string
  readonly payload: SchemaInput<Payload>
  /** The tenant that the job works for. @defaultValue none */
  readonly tenantId?: string
  /** Tells several schedules of one job apart. @defaultValue `'default'` */
  readonly name?: string
}

/** The moments at which a schedule is due, in milliseconds since the epoch. */
export interface Slots {
  /** Whether a schedule that never ran is due at once. */
  readonly startsAtOnce: boolean
  /** The latest slot that is not after the moment. */
  latest(now: number): number
  /** The first slot after the moment. */
  next(now: number): number
}

export interface ResolvedSchedule {
  readonly name: string
  readonly payload: unknown
  readonly tenantId: string | undefined
  readonly slots: Slots
  /** Equal texts are the same schedule. */
  readonly timing: string
}

/** @throws TypeError for options that are unknown or make no sense, and for a job that is none of the system's. */
export function resolveSchedule(job: JobDefinition, given: JobSchedule): ResolvedSchedule {
  const path = `schedule ${job.name}`
  if (job.operation.access !== 'system') {
    throw new TypeError(`${path}: only a job with access: 'system' can run by a schedule.`)
  }
  const { every, cron, timeZone, name, payload, tenantId } = readOptions<JobSchedule, typeof spec>(
    given,
    spec,
    path,
    {
      check: (options, note) => {
        if ((options.every === undefined) === (options.cron === undefined))
          note('', 'needs either every or cron.')
        if (options.timeZone !== undefined && options.cron === undefined)
          note('timeZone', 'has a meaning for cron only.')
      },
    },
  )
  const slots = every === undefined ? cronSlots(cron ?? '', timeZone ?? 'UTC', path) : everySlots(every)
  return { name, payload, tenantId, slots, timing: JSON.stringify([every, cron, timeZone ?? 'UTC']) }
}

const spec = {
  every: option.delay(undefined, { min: '100ms' }).optional(),
  cron: option.text().optional(),
  timeZone: option.text().optional(),
  payload: option.json(),
  tenantId: option.text().optional(),
  name: option.name('default'),
}

/** Multiples of the span since the epoch, so that all processes agree on them. */
function everySlots(span: number): Slots {
  return {
    startsAtOnce: true,
    latest: (now) => Math.floor(now / span) * span,
    next: (now) => Math.floor(now / span) * span + span,
  }
}

function cronSlots(cron: string, tz: string, path: string): Slots {
  const fields = cron.trim().split(/\s+/).length
  if (fields !== 5 && fields !== 6) {
    throw new TypeError(`${path}.cron: ${JSON.stringify(cron)} is not an expression of five or six fields.`)
  }
  try {
    Intl.DateTimeFormat('en', { timeZone: tz })
  } catch {
    throw new TypeError(`${path}.timeZone: ${JSON.stringify(tz)} is not the name of a time zone.`)
  }
  const at = (now: number) => CronExpressionParser.parse(cron, { tz, currentDate: new Date(now) })
  try {
    at(0).next()
  } catch (error) {
    throw new TypeError(`${path}.cron: ${JSON.stringify(cron)} never comes: ${(error as Error).message}`, {
      cause: error,
    })
  }
  return {
    startsAtOnce: false,
    // A slot lies on a full second: the one that begins now counts as past.
    latest: (now) =>
      at(Math.floor(now / 1_000) * 1_000 + 1_000)
        .prev()
        .getTime(),
    next: (now) => at(now).next().getTime(),
  }
}

/** For whom the runs of a schedule are. */
export function schedulePrincipal({ name, tenantId }: ResolvedSchedule): ReturnType<typeof systemPrincipal> {
  return systemPrincipal(`schedule:${name}`, tenantId ?? null)
}
