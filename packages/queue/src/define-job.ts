import {
  assertAccessRule,
  parseDuration,
  refuseUnknownKeys,
  type AccessRule,
  type Duration,
  type Operation,
  type Schema,
} from '@quintet/core'

export interface JobOptions<Payload extends Schema> {
  /** What the job carries; checked when it is added and again when it runs. */
  readonly payload: Payload
  /** For whom it may run. @defaultValue `'authenticated'`: a user; `'system'` for the system's own work */
  readonly access?: AccessRule
  /** How often it is tried in all. @defaultValue 5 */
  readonly attempts?: number
  /** The pause before the second try; each further one is twice as long, with jitter. @defaultValue `'1s'` */
  readonly backoff?: Duration
  /** How long one try may take; 0 for no limit. @defaultValue `'60s'` */
  readonly timeout?: Duration
  /** How long a finished job is remembered, and with it its idempotency key. @defaultValue `'1d'` */
  readonly retention?: Duration
}

/** What applies where {@link JobOptions} says nothing. */
export const jobDefaults = Object.freeze({
  access: 'authenticated',
  attempts: 5,
  backoff: '1s',
  timeout: '60s',
  retention: '1d',
} as const)

/** A kind of job: its name, what it carries and how it is tried. Made by {@link defineJob}. */
export interface JobDefinition<Payload extends Schema = Schema> {
  readonly name: string
  readonly payload: Payload
  readonly attempts: number
  /** Milliseconds. */
  readonly backoff: number
  /** Milliseconds. */
  readonly retention: number
  readonly operation: Operation
}

const knownKeys = ['payload', 'access', 'attempts', 'backoff', 'timeout', 'retention']

/**
 * Defines a kind of job. Its queue has the same name.
 *
 * @throws TypeError when an option is unknown or makes no sense.
 */
export function defineJob<Payload extends Schema>(
  name: string,
  options: JobOptions<Payload>,
): JobDefinition<Payload> {
  const path = `job "${name}"`
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(name)) {
    throw new TypeError(`${path}: the name must be lower-case letters, digits and hyphens.`)
  }
  refuseUnknownKeys(options, knownKeys, path)
  if (typeof options.payload !== 'object' && typeof options.payload !== 'function') {
    throw new TypeError(`${path}: payload must be a Standard Schema.`)
  }
  const access = options.access ?? jobDefaults.access
  assertAccessRule(access, path)
  const attempts = options.attempts ?? jobDefaults.attempts
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > 1000) {
    throw new TypeError(`${path}: attempts must be a whole number from 1 to 1000, not ${String(attempts)}.`)
  }
  return Object.freeze({
    name,
    payload: options.payload,
    attempts,
    backoff: parseDuration(options.backoff ?? jobDefaults.backoff, `${path}: backoff`),
    retention: parseDuration(options.retention ?? jobDefaults.retention, `${path}: retention`),
    operation: Object.freeze({
      surface: 'job',
      name: `job:${name}`,
      access,
      freshness: undefined,
      timeout: parseDuration(options.timeout ?? jobDefaults.timeout, `${path}: timeout`),
    }),
  })
}
