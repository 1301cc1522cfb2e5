import { createHash, randomUUID } from 'node:crypto'
import {
  currentInvocation,
  refuseUnknownKeys,
  validate,
  type Principal,
  type Schema,
  type SchemaInput,
} from '@quintet/core'
import { Queue as BullQueue, type ConnectionOptions } from 'bullmq'
import type { Redis } from 'ioredis'
import type { JobDefinition } from './define-job.ts'
import { createSealer, type Envelope, type SecretText } from './envelope.ts'
import { QueueError } from './errors.ts'

export interface QueueOptions {
  /** A connection for adding jobs; it should fail fast. It stays its owner's. */
  readonly connection: Redis
  /** Signs the context of jobs: at least 32 bytes, the same for all who add and run them, and for nobody else. */
  readonly secret: SecretText
  /** Stands before every key. @defaultValue `'quintet'` */
  readonly prefix?: string
}

export const queueDefaults = Object.freeze({ prefix: 'quintet' } as const)

export interface EnqueueOptions {
  /** For whom the job runs. @defaultValue the principal of the running call */
  readonly principal?: Principal
  /** The same key of the same tenant is the same job, as long as that is remembered. */
  readonly idempotencyKey?: string
  /** Milliseconds to wait. @defaultValue 0 */
  readonly delay?: number
  /** W3C Trace Context. @defaultValue that of the running call */
  readonly traceparent?: string
}

export interface Enqueued {
  readonly id: string
  /** True when the key was known: nothing was added. */
  readonly deduplicated: boolean
}

/** A job that will not be tried again. */
export interface DeadLetter {
  readonly id: string
  readonly reason: string
  readonly attempts: number
  /** Milliseconds since the epoch. */
  readonly failedAt: number | undefined
  readonly tenantId: string | null
}

/** Where jobs are added. */
export interface Queue extends AsyncDisposable {
  /**
   * Adds a job, in the name of the caller.
   *
   * @throws QuintetError `ERR_CORE_INVALID_INPUT` when the payload does not fit, `ERR_QUEUE_UNAVAILABLE` when Redis
   *   does not answer.
   */
  enqueue<Payload extends Schema>(
    job: JobDefinition<Payload>,
    payload: SchemaInput<Payload>,
    options?: EnqueueOptions,
  ): Promise<Enqueued>
  /** How many jobs wait (also delayed ones), run and are dead. */
  counts(
    job: JobDefinition,
  ): Promise<{ readonly waiting: number; readonly active: number; readonly dead: number }>
  /** The latest dead letters of a kind of job. */
  deadLetters(job: JobDefinition, options?: { readonly limit?: number }): Promise<readonly DeadLetter[]>
  /** Tries a dead job again, from its first attempt. @throws QueueError `ERR_QUEUE_NO_DEAD_LETTER`. */
  replay(job: JobDefinition, id: string): Promise<void>
  close(): Promise<void>
}

/** @throws TypeError when an option is unknown or makes no sense. */
export function createQueue(options: QueueOptions): Queue {
  refuseUnknownKeys(options, ['connection', 'secret', 'prefix'], 'createQueue')
  const prefix = options.prefix ?? queueDefaults.prefix
  const sealer = createSealer(options.secret)
  const queues = new Map<string, BullQueue<Envelope>>()
  let closed = false

  const queueOf = (job: JobDefinition): BullQueue<Envelope> => {
    if (closed) throw new QueueError('The queue is closed.', { code: 'ERR_QUEUE_CLOSED', kind: 'closed' })
    let queue = queues.get(job.name)
    if (queue === undefined) {
      queue = new BullQueue<Envelope>(job.name, {
        connection: options.connection as ConnectionOptions,
        prefix,
        skipWaitingForReady: true,
      })
      // Failures reach whoever waits for the command; the event is only for those who do not.
      queue.on('error', () => {})
      queues.set(job.name, queue)
    }
    return queue
  }

  const queue: Queue = {
    async enqueue(job, payload, settings = {}) {
      refuseUnknownKeys(
        settings,
        ['principal', 'idempotencyKey', 'delay', 'traceparent'],
        `enqueue ${job.name}`,
      )
      const invocation = currentInvocation()
      const principal = settings.principal ?? invocation?.principal
      if (principal === undefined) {
        throw new TypeError(
          `enqueue ${job.name}: there is no running call to take the principal from; give one.`,
        )
      }
      await validate(job.payload, payload)
      const { idempotencyKey } = settings
      const id = idempotencyKey === undefined ? randomUUID() : keyedId(principal.tenantId, idempotencyKey)
      const traceparent = settings.traceparent ?? invocation?.traceparent
      const envelope = sealer.seal({ name: job.name, id }, principal, payload, traceparent)
      const target = queueOf(job)
      return available(async () => {
        await target.add(job.name, envelope, {
          jobId: id,
          attempts: job.attempts,
          backoff: { type: 'exponential', delay: job.backoff, jitter: 0.5 },
          removeOnComplete: { age: job.retention / 1000 },
          removeOnFail: false,
          ...(settings.delay === undefined ? {} : { delay: settings.delay }),
        })
        if (idempotencyKey === undefined) return { id, deduplicated: false }
        const stored = await target.getJob(id)
        return { id, deduplicated: stored !== undefined && stored.data.mac !== envelope.mac }
      })
    },

    async counts(job) {
      return available(async () => {
        const counts = await queueOf(job).getJobCounts('wait', 'delayed', 'prioritized', 'active', 'failed')
        const { wait = 0, delayed = 0, prioritized = 0, active = 0, failed = 0 } = counts
        return { waiting: wait + delayed + prioritized, active, dead: failed }
      })
    },

    async deadLetters(job, { limit = 100 } = {}) {
      return available(async () => {
        const failed = await queueOf(job).getFailed(0, limit - 1)
        return failed.map((each) => ({
          id: each.id ?? '',
          reason: each.failedReason,
          attempts: each.attemptsMade,
          failedAt: each.finishedOn,
          tenantId: each.data?.context?.tenantId ?? null,
        }))
      })
    },

    async replay(job, id) {
      await available(async () => {
        const dead = await queueOf(job).getJob(id)
        if (dead === undefined || !(await dead.isFailed())) {
          throw new QueueError(`There is no dead letter ${id} of ${job.name}.`, {
            code: 'ERR_QUEUE_NO_DEAD_LETTER',
            kind: 'not-found',
          })
        }
        await dead.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true })
      })
    },

    async close() {
      closed = true
      await Promise.allSettled([...queues.values()].map((each) => each.close()))
      queues.clear()
    },
    [Symbol.asyncDispose]: () => queue.close(),
  }
  return queue
}

function keyedId(tenantId: string | null, key: string): string {
  return `k-${createHash('sha256')
    .update(JSON.stringify([tenantId, key]))
    .digest('base64url')}`
}

async function available<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (cause) {
    if (cause instanceof QueueError) throw cause
    throw new QueueError('The queue does not answer. Try again shortly.', {
      code: 'ERR_QUEUE_UNAVAILABLE',
      kind: 'unavailable',
      retryAfter: 1000,
      cause,
    })
  }
}
