import { createHash, randomUUID } from 'node:crypto'
import {
  currentInvocation,
  type Duration,
  type Logger,
  type Principal,
  type Schema,
  type SchemaInput,
  systemPrincipal,
} from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import type { Queue as BullQueue } from 'bullmq'
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
import { eraseJobs, type Erased, type ErasureSubject } from './erase-jobs.ts'
import { createEnvelopeSigner, type Envelope, type EnvelopeSigner, type SecretText } from './envelope.ts'
import { QueueError, unavailableWhenRedisIs } from '../errors.ts'
import { createFairOrder, lastTurn, noTurn, type FairOrder } from './fair-order.ts'
import type { LetterBox } from './letter-box.ts'
import { serializePayload } from './payload.ts'
import { inTime } from '../in-time.ts'
import { isCluster, type RedisClient } from './connection.ts'
import { createReadableBackend, ReadableQueue } from './readable-jobs.ts'
import { countByKey, resignJobs } from './resign.ts'
import { readCounts, type QueueCounts } from './queue-counts.ts'

export interface QueueOptions {
  /**
   * An ioredis client, of one Redis or of a cluster, without a key prefix. It stays its owner's to close, and is
   * reconnected when a command gets no answer within `commandTimeout`.
   */
  readonly connection: RedisClient
  /**
   * Signs the context of jobs: 32 characters at least, the same in all processes that add and run jobs, and known to them alone.
   * Of several, the first signs and all verify.
   */
  readonly secret: SecretText | readonly SecretText[]
  /** Stands before every key. With a cluster it needs a hash tag, e.g. `'{quintet}'`. @defaultValue `'quintet'` */
  readonly prefix?: string
  /** How long Redis may take to answer a command; then it counts as unavailable. @defaultValue `'5s'` */
  readonly commandTimeout?: Duration
  /** @defaultValue silent */
  readonly logger?: Logger
}

/** What applies where {@link QueueOptions} says nothing. */
export const queueDefaults = Object.freeze({ prefix: 'quintet', commandTimeout: '5s' } as const)

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
  /** For a known key: true when that job was given up. It runs again when it is replayed, or added under another key. */
  readonly dead?: boolean
}

/** Where jobs are added. */
export interface Queue extends AsyncDisposable {
  readonly connection: RedisClient
  readonly prefix: string
  /** Runs commands within the time limit. @throws QueueError `ERR_QUEUE_UNAVAILABLE` */
  ask<Result>(run: () => Promise<Result>): Promise<Result>
  /** Seals and opens the envelopes of its jobs. */
  readonly signer: EnvelopeSigner
  /** In which the tenants of a kind of job take turns; undefined for one that is first come, first served. */
  fairOrder(job: JobDefinition): FairOrder | undefined
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
   * Erases what a kind of job has kept of a user or a tenant: jobs that have ended and were added in their name, or tell of
   * them by `tellsOf`. Jobs that are still to run are left and counted.
   */
  erase(
    job: JobDefinition,
    subject: ErasureSubject,
    tellsOf?: (payload: unknown) => readonly string[],
  ): Promise<Erased>
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
  const read = readOptions<QueueOptions, typeof spec>(options, spec, 'createQueue')
  const { connection, prefix, commandTimeout, logger } = read
  assertConnection(connection, prefix, 'createQueue')
  const signer = createEnvelopeSigner(options.secret)
  const queues = new Map<string, BullQueue>()
  let closing: Promise<void> | undefined

  const bull = (job: JobDefinition): BullQueue => {
    if (closing !== undefined) throw new QueueError('ERR_QUEUE_CLOSED', 'The queue is closed.')
    const known = queues.get(job.name)
    if (known !== undefined) return known
    // A client that fails fast should do so here too: no waiting until it is connected.
    const made = new ReadableQueue(
      job.name,
      { connection, prefix, skipWaitingForReady: true, skipVersionCheck: true },
      createReadableBackend,
    )
    made.on('error', (error) =>
      logger.warn({ err: error, job: job.name }, 'a queue has trouble with its connection'),
    )
    queues.set(job.name, made)
    return made
  }

  const ask = <Result>(run: () => Promise<Result>): Promise<Result> =>
    unavailableWhenRedisIs(() => {
      // A connection that answers nothing is lost, though it was never closed; another one takes its place.
      const reconnect = (): void => {
        if (connection.status === 'ready') connection.disconnect(true)
      }
      return inTime(run(), commandTimeout, 'Redis did not answer', { onTimeout: reconnect })
    })
  const fairOrder = (job: JobDefinition): FairOrder | undefined =>
    job.fairness === 'tenant' ? createFairOrder(bull(job), connection) : undefined
  const lettersOf = (job: JobDefinition): LetterBox => ({
    bull: bull(job),
    connection,
    prefix,
    job,
    signer,
    ask,
  })
  const queue: Queue = {
    connection,
    prefix,
    ask,
    fairOrder,
    signer,
    async enqueue(job, payload, given = {}) {
      const path = `enqueue ${job.name}`
      const settings = readOptions<EnqueueOptions, typeof enqueueSpec>(given, enqueueSpec, path)
      const target = bull(job)
      const call = currentInvocation()
      const principal = settings.principal ?? defaultPrincipal(job, call?.principal)
      assertMayRun(job, principal)
      const text = await serializePayload(job, payload)
      const { idempotencyKey, delay } = settings
      const id =
        idempotencyKey === undefined ? randomUUID() : keyedId(principal.tenantId, idempotencyKey, path)
      const traceparent = settings.traceparent ?? call?.traceparent
      const expiresAt = Date.now() + delay + job.maxAge
      const envelope = signer.seal({ prefix, job: job.name, id }, principal, text, { traceparent, expiresAt })
      return ask(async () => {
        const order = fairOrder(job)
        await target.add(job.name, envelope, {
          ...bullOptions(job),
          jobId: id,
          ...(order === undefined ? {} : { priority: delay > 0 ? noTurn : lastTurn }),
          ...(delay > 0 ? { delay } : {}),
        })
        if (delay === 0) await order?.place()
        if (idempotencyKey === undefined) return { id, deduplicated: false }
        // BullMQ answers a known id with what was given, not with what it holds.
        const stored = await target.getJob(id)
        const { mac } = (stored?.data ?? {}) as Partial<Envelope>
        if (stored === undefined || mac === envelope.mac) return { id, deduplicated: false }
        return { id, deduplicated: true, dead: await stored.isFailed() }
      })
    },
    // async: what a closed queue throws is a rejection here as well.
    counts: async (job) => await ask(() => readCounts(bull(job))),
    deadLetters: async (job, settings) => await listDeadLetters(lettersOf(job), settings),
    replay: async (job, id) => await replayDeadLetter(lettersOf(job), id),
    replayAll: async (job) => await replayDeadLetters(lettersOf(job)),
    erase: async (job, subject, tellsOf = () => []) => await eraseJobs(lettersOf(job), subject, tellsOf),
    resign: async (job) => await resignJobs(lettersOf(job)),
    countsByKey: async (job) => await countByKey(lettersOf(job)),
    removeDeadLetter: async (job, id) => await removeDeadLetter(lettersOf(job), id),
    bull,
    close() {
      return (closing ??= Promise.all([...queues.values()].map((each) => each.close())).then(() => undefined))
    },
    [Symbol.asyncDispose]: () => queue.close(),
  }
  return queue
}

const spec = {
  connection: option.collaborator<RedisClient>(['duplicate'], 'an ioredis client'),
  secret: option.parsed<QueueOptions['secret']>('a secret or a list of them', (given) => given as never),
  prefix: option.text(queueDefaults.prefix, {
    pattern: /^[\w\-{}.]{1,100}$/,
    expected: 'letters, digits, "-", "_", "." and a hash tag, 100 at most',
  }),
  commandTimeout: option.delay(queueDefaults.commandTimeout, { min: 1 }),
  logger: option.logger(),
}

const enqueueSpec = {
  principal: option.collaborator<Principal>([], 'a principal').optional(),
  idempotencyKey: option.text().optional(),
  delay: option.duration(0, { max: '366d' }),
  traceparent: option.text().optional(),
}

function assertConnection(connection: RedisClient, prefix: string, path: string): void {
  if (isCluster(connection) && !/\{[^}]+\}/.test(prefix)) {
    throw new TypeError(
      `${path}: prefix ${JSON.stringify(prefix)} needs a hash tag such as "{${prefix}}" on a cluster, so that the keys of a queue are in one slot.`,
    )
  }
  if (connection.options.keyPrefix) {
    throw new TypeError(
      `${path}: connection has a keyPrefix, which BullMQ does not bear. Use the option "prefix" of ${path}.`,
    )
  }
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
