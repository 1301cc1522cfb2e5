import type { AccessRule, Duration, Schema, Size } from '@quintet/core'
import {
  assertAccessRule,
  assertName,
  type Operation,
  parseDuration,
  parseSize,
  refuseUnknownKeys,
} from '@quintet/core/kit'

/** Pauses between attempts: they double from `min` to `max`, each drawn from its upper half so that jobs spread. */
export interface BackoffOptions {
  /** @defaultValue `'1s'` */
  readonly min?: Duration
  /** @defaultValue `'5m'` */
  readonly max?: Duration
}

/** How long finished jobs stay readable. While one stays, its idempotency key is known. */
export interface RetentionOptions {
  /** @defaultValue `'1d'` */
  readonly completed?: Duration
  /** @defaultValue `'30d'` */
  readonly dead?: Duration
  /** Completed jobs that are kept at most. @defaultValue 10 000 */
  readonly maxCompleted?: number
}

export interface JobOptions<Payload extends Schema, Access extends AccessRule = AccessRule> {
  /** What travels, as JSON; checked where the job is enqueued and again where it runs. */
  readonly payload: Payload
  /**
   * For whom the job may run: the principal that its envelope was signed with. `'system'` is work of the system
   * itself, for one tenant or for none, and never for a user.
   * @defaultValue `'authenticated'`
   */
  readonly access?: Access
  /** One sentence for `quintet routes`. */
  readonly description?: string
  /** How often it is tried in all. @defaultValue 5 */
  readonly attempts?: number
  /** The pause before the second attempt; each further one is twice as long, with jitter. @defaultValue `'1s'` */
  readonly backoff?: Duration | BackoffOptions
  /**
   * How long one attempt may take, 0 for no limit; its signal aborts then, and the next may begin as soon as its handler
   * has ended.
   * @defaultValue `'60s'`
   */
  readonly timeout?: Duration
  /** How long a completed job is remembered, and with it its idempotency key. @defaultValue `'1d'` */
  readonly retention?: Duration | RetentionOptions
  /** How long after it was due a job may still run; then it is dead until an operator replays it. @defaultValue `'7d'` */
  readonly maxAge?: Duration
  /** The largest payload. @defaultValue `'256kb'` */
  readonly maxPayloadSize?: Size
  /**
   * `'tenant'`: the tenants whose jobs wait take turns, so that a backlog of one holds up the others by a job at most.
   * `'none'`: first come, first served.
   * @defaultValue `'tenant'`
   */
  readonly fairness?: 'tenant' | 'none'
}

/** A kind of work: its name, its payload and how it is run. Made by {@link defineJob}, shared by both ends. */
export interface JobDefinition<Payload extends Schema = Schema, Access extends AccessRule = AccessRule> {
  readonly name: string
  readonly payload: Payload
  readonly description: string
  readonly operation: Operation & { readonly access: Access }
  readonly attempts: number
  /** Milliseconds. */
  readonly backoff: { readonly min: number; readonly max: number }
  /** Milliseconds. */
  readonly retention: { readonly completed: number; readonly dead: number; readonly maxCompleted: number }
  /** Milliseconds. */
  readonly maxAge: number
  /** Bytes. */
  readonly maxPayloadSize: number
  readonly fairness: 'tenant' | 'none'
}

/** What applies where {@link JobOptions} says nothing. */
export const jobDefaults = Object.freeze({
  access: 'authenticated',
  attempts: 5,
  backoff: Object.freeze({ min: '1s', max: '5m' }),
  timeout: '60s',
  retention: Object.freeze({ completed: '1d', dead: '30d', maxCompleted: 10_000 }),
  maxAge: '7d',
  maxPayloadSize: '256kb',
  fairness: 'tenant',
} as const)

const knownKeys = [
  'payload',
  'access',
  'description',
  'attempts',
  'backoff',
  'timeout',
  'retention',
  'maxAge',
  'maxPayloadSize',
  'fairness',
]

/**
 * Defines one kind of job.
 *
 * @throws TypeError for a name or an option that makes no sense.
 */
export function defineJob<Payload extends Schema, const Access extends AccessRule = 'authenticated'>(
  name: string,
  options: JobOptions<Payload, Access>,
): JobDefinition<Payload, Access> {
  assertName(name, 'defineJob')
  const path = `job "${name}"`
  if (typeof options !== 'object' || options === null) throw new TypeError(`${path}: needs options.`)
  refuseUnknownKeys(options, knownKeys, path)
  if (options.payload?.['~standard'] === undefined) {
    throw new TypeError(
      `${path}.payload: is not a Standard Schema. Give one of zod, valibot, arktype or another library that implements it.`,
    )
  }
  const access = options.access ?? jobDefaults.access
  assertAccessRule(access, path)
  const attempts = options.attempts ?? jobDefaults.attempts
  if (!Number.isSafeInteger(attempts) || attempts < 1) {
    throw new TypeError(`${path}.attempts: ${JSON.stringify(attempts)} is not a positive whole number.`)
  }
  const fairness = options.fairness ?? jobDefaults.fairness
  if (fairness !== 'tenant' && fairness !== 'none')
    throw new TypeError(`${path}.fairness: ${JSON.stringify(fairness)} is neither 'tenant' nor 'none'.`)
  const operation = Object.freeze({
    surface: 'job' as const,
    name: `job:${name}`,
    access: access as Access,
    freshness: undefined,
    timeout: parseDuration(options.timeout ?? jobDefaults.timeout, `${path}.timeout`),
  })
  return Object.freeze({
    name,
    payload: options.payload,
    description: options.description ?? '',
    operation,
    attempts,
    backoff: resolveBackoff(options.backoff, `${path}.backoff`),
    retention: resolveRetention(options.retention, `${path}.retention`),
    maxAge: positive(parseDuration(options.maxAge ?? jobDefaults.maxAge, `${path}.maxAge`), `${path}.maxAge`),
    maxPayloadSize: parseSize(options.maxPayloadSize ?? jobDefaults.maxPayloadSize, `${path}.maxPayloadSize`),
    fairness,
  })
}

function resolveBackoff(given: Duration | BackoffOptions = {}, path: string): JobDefinition['backoff'] {
  const backoff = typeof given === 'object' ? given : { min: given }
  refuseUnknownKeys(backoff, ['min', 'max'], path)
  const min = parseDuration(backoff.min ?? jobDefaults.backoff.min, `${path}.min`)
  const max = parseDuration(
    backoff.max ?? Math.max(min, parseDuration(jobDefaults.backoff.max)),
    `${path}.max`,
  )
  if (max < min) throw new TypeError(`${path}: max is shorter than min.`)
  return Object.freeze({ min, max })
}

/** The pause after a number of attempts, in milliseconds. */
export function pauseAfter(
  attempts: number,
  { min, max }: { readonly min: number; readonly max: number },
): number {
  return Math.round(shortestPauseAfter(attempts, { min, max }) * (1 + Math.random()))
}

/** The shortest that the pause after a number of attempts can be, in milliseconds. */
export function shortestPauseAfter(
  attempts: number,
  { min, max }: { readonly min: number; readonly max: number },
): number {
  return Math.min(max, min * 2 ** Math.min(attempts - 1, 40)) / 2
}

function resolveRetention(given: Duration | RetentionOptions = {}, path: string): JobDefinition['retention'] {
  const retention = typeof given === 'object' ? given : { completed: given }
  refuseUnknownKeys(retention, ['completed', 'dead', 'maxCompleted'], path)
  const maxCompleted = retention.maxCompleted ?? jobDefaults.retention.maxCompleted
  if (!Number.isSafeInteger(maxCompleted) || maxCompleted < 0) {
    throw new TypeError(`${path}.maxCompleted: ${String(maxCompleted)} is not a whole number.`)
  }
  return Object.freeze({
    completed: parseDuration(retention.completed ?? jobDefaults.retention.completed, `${path}.completed`),
    dead: parseDuration(retention.dead ?? jobDefaults.retention.dead, `${path}.dead`),
    maxCompleted,
  })
}

function positive(milliseconds: number, path: string): number {
  if (milliseconds > 0) return milliseconds
  throw new TypeError(`${path}: must be longer than 0, or no such job could ever run.`)
}
