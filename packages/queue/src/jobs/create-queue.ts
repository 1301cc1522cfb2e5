import { createHash, randomUUID } from 'node:crypto'
import {
  currentInvocation,
  type Duration,
  type Logger,
  type Principal,
  type Schema,
  type SchemaInput,
  silentLogger,
  systemPrincipal,
} from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { Queue as BullQueue } from 'bullmq'
import type { Redis } from 'ioredis'
import { assertMayRun } from './assert-may-run.ts'
import { bullOptions } from './bull-options.ts'
import {
  listDeadLetters,
  removeDeadLetter,
  replayDeadLetter,
  replayDeadLetters,
  type DeadLetter,
  type DeadLettersOptions,
} from './dead-letters.ts'
import type { JobDefinition } from './define-job.ts'
import { createEnvelopeSigner, type Envelope, type EnvelopeSigner, type SecretText } from './envelope.ts'
import { QueueError, unavailableWhenRedisIs } from '../errors.ts'
import type { LetterBox } from './letter-box.ts'
import { serializePayload } from './payload.ts'
import { countByKey, resignJobs } from './resign.ts'
import { readCounts, type QueueCounts } from './queue-counts.ts'

export interface QueueOptions {
  /** An ioredis client without a key prefix, which should fail fast. It stays its owner's to close. */
  readonly connection: Redis
  /**
   * Signs the context of jobs: 32 characters at least, the same for all who add and run jobs, and for nobody else.
   * Of several, the first signs and all verify.
   */
  readonly secret: SecretText | readonly SecretText[]
  /** Stands before every key. @defaultValue `'quintet'` */
  readonly prefix?: string
  /** @defaultValue silent */
  readonly logger?: Logger
}

/** What applies where {@link QueueOptions} says nothing. */
export const queueDefaults = Object.freeze({ prefix: 'quintet' } as const)

export interface EnqueueOptions {
  /**
   * For whom the job runs.
   * @defaultValue the principal of the running call; for a job with access `'system'`, the system acting for its tenant
   */
  readonly principal?: Principal
  /** The same key of the same tenant is the same job, as long as that is remembered. */
  readonly idempotencyKey?: string
  /** How long to wait first. @defaultValue 0 */
  readonly delay?: Duration
  /** W3C Trace Context. @defaultValue that of the running call */
  readonly traceparent?: string
}

export interface Enqueued {
  readonly id: string
  /** True when the key was known: the earlier job stays as it is, and nothing was added. */
  readonly deduplicated: boolean
}

/** Where jobs are added. */
export interface Queue extends AsyncDisposable {
  readonly connection: Redis
  readonly prefix: string
  /** Seals and opens the envelopes of its jobs. */
  readonly signer: EnvelopeSigner
  /**
   * Adds a job, in the name of the caller.
   *
   * @throws QueueError `ERR_QUEUE_BAD_PAYLOAD`, `ERR_QUEUE_PAYLOAD_TOO_LARGE`; `ERR_QUEUE_FORBIDDEN` when the job may
   *   not run for the principal; `ERR_QUEUE_UNAVAILABLE` when Redis does not answer; `ERR_QUEUE_CLOSED`.
   */
  enqueue<Payload extends Schema>(
    job: JobDefinition<Payload>,
    payload: SchemaInput<Payload>,
    options?: EnqueueOptions,
  ): Promise<Enqueued>
  /** How many jobs wait, run and are dead, and for how long the oldest has waited. */
  counts(job: JobDefinition): Promise<QueueCounts>
  /** The latest dead letters of a kind of job. */
  deadLetters(job: JobDefinition, options?: DeadLettersOptions): Promise<readonly DeadLetter[]>
  /** Tries a dead job again, from its first attempt. @throws QueueError `ERR_QUEUE_NO_DEAD_LETTER`. */
  replay(job: JobDefinition, id: string): Promise<void>
  /** Tries all jobs again that are dead now; the answer is their number. */
  replayAll(job: JobDefinition): Promise<number>
  /** Forgets a dead job. @throws QueueError `ERR_QUEUE_NO_DEAD_LETTER`. */
  removeDeadLetter(job: JobDefinition, id: string): Promise<void>
  /**
   * Signs the jobs that wait, are delayed or dead again with the current secret, after checking them: before an old
   * secret is taken away. What is not genuine stays as it is.
   */
  resign(job: JobDefinition): Promise<{ readonly resigned: number; readonly refused: number }>
  /** How many of those jobs were signed with which secret; that of `signer.keyId` is the current one. */
  countsByKey(job: JobDefinition): Promise<Readonly<Record<string, number>>>
  /** The BullMQ queue of a job, e.g. for a dashboard. What is added there is not signed, so no worker runs it. */
  bull(job: JobDefinition): BullQueue
  /** Refuses further jobs; the connection stays open. Idempotent. */
  close(): Promise<void>
}

/**
 * Makes a queue on Redis.
 *
 * @throws TypeError when an option is unknown or makes no sense.
 */
export function createQueue(options: QueueOptions): Queue {
  refuseUnknownKeys(options, ['connection', 'secret', 'prefix', 'logger'], 'createQueue')
  const { connection, logger = silentLogger } = options
  const prefix = parsePrefix(options.prefix, 'createQueue')
  assertConnection(connection, 'createQueue')
  const signer = createEnvelopeSigner(options.secret)
  const queues = new Map<string, BullQueue>()
  let closing: Promise<void> | undefined

  const bull = (job: JobDefinition): BullQueue => {
    if (closing !== undefined) throw new QueueError('ERR_QUEUE_CLOSED', 'The queue is closed.')
    const known = queues.get(job.name)
    if (known !== undefined) return known
    // A client that fails fast should do so here too: no waiting until it is connected.
    const made = new BullQueue(job.name, {
      connection,
      prefix,
      skipWaitingForReady: true,
      skipVersionCheck: true,
    })
    made.on('error', (error) =>
      logger.warn({ err: error, job: job.name }, 'a queue has trouble with its connection'),
    )
    queues.set(job.name, made)
    return made
  }

  const lettersOf = (job: JobDefinition): LetterBox => ({ bull: bull(job), connection, prefix, job, signer })
  const queue: Queue = {
    connection,
    prefix,
    signer,
    async enqueue(job, payload, settings = {}) {
      const path = `enqueue ${job.name}`
      refuseUnknownKeys(settings, ['principal', 'idempotencyKey', 'delay', 'traceparent'], path)
      const target = bull(job)
      const call = currentInvocation()
      const principal = settings.principal ?? defaultPrincipal(job, call?.principal)
      assertMayRun(job, principal)
      const text = await serializePayload(job, payload)
      const { idempotencyKey } = settings
      const id =
        idempotencyKey === undefined ? randomUUID() : keyedId(principal.tenantId, idempotencyKey, path)
      const delay = parseDuration(settings.delay ?? 0, `${path}: delay`)
      const traceparent = settings.traceparent ?? call?.traceparent
      const expiresAt = Date.now() + delay + job.maxAge
      const envelope = signer.seal({ prefix, job: job.name, id }, principal, text, { traceparent, expiresAt })
      return unavailableWhenRedisIs(async () => {
        await target.add(job.name, envelope, {
          ...bullOptions(job),
          jobId: id,
          ...(delay > 0 ? { delay } : {}),
        })
        if (idempotencyKey === undefined) return { id, deduplicated: false }
        // BullMQ answers a known id with what was given, not with what it holds.
        const stored = (await target.getJob(id))?.data as Envelope | undefined
        return { id, deduplicated: stored !== undefined && stored.mac !== envelope.mac }
      })
    },
    counts: (job) => unavailableWhenRedisIs(() => readCounts(bull(job))),
    deadLetters: (job, settings) => unavailableWhenRedisIs(() => listDeadLetters(bull(job), settings)),
    replay: (job, id) => unavailableWhenRedisIs(() => replayDeadLetter(lettersOf(job), id)),
    replayAll: (job) => unavailableWhenRedisIs(() => replayDeadLetters(lettersOf(job))),
    resign: (job) => unavailableWhenRedisIs(() => resignJobs(lettersOf(job))),
    countsByKey: (job) => unavailableWhenRedisIs(() => countByKey(bull(job))),
    removeDeadLetter: (job, id) => unavailableWhenRedisIs(() => removeDeadLetter(bull(job), id)),
    bull,
    close() {
      return (closing ??= Promise.all([...queues.values()].map((each) => each.close())).then(() => undefined))
    },
    [Symbol.asyncDispose]: () => queue.close(),
  }
  return queue
}

function assertConnection(connection: Redis, path: string): void {
  if (typeof connection?.duplicate !== 'function')
    throw new TypeError(`${path}: connection must be an ioredis client.`)
  if (connection.options.keyPrefix) {
    throw new TypeError(
      `${path}: connection has a keyPrefix, which BullMQ does not bear. Use the option "prefix" of ${path}.`,
    )
  }
}

function parsePrefix(prefix: string = queueDefaults.prefix, path: string): string {
  if (/^[\w\-{}.]{1,100}$/.test(prefix)) return prefix
  throw new TypeError(
    `${path}: prefix ${JSON.stringify(prefix)} must be letters, digits, "-", "_" or ".", 100 at most.`,
  )
}

function defaultPrincipal(job: JobDefinition, caller: Principal | undefined): Principal {
  if (job.operation.access === 'system') {
    return caller?.kind === 'system' ? caller : systemPrincipal(`job:${job.name}`, caller?.tenantId ?? null)
  }
  if (caller !== undefined) return caller
  throw new TypeError(`enqueue ${job.name}: there is no running call to take the principal from; give one.`)
}

/** Keys of different tenants never meet. */
function keyedId(tenantId: string | null, key: string, path: string): string {
  if (typeof key !== 'string' || key === '' || key.length > 1_000) {
    throw new TypeError(`${path}: idempotencyKey must be a text of 1 to 1000 characters.`)
  }
  return `k-${createHash('sha256')
    .update(JSON.stringify([tenantId, key]))
    .digest('base64url')}`
}
