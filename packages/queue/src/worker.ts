import {
  isQuintetError,
  refuseUnknownKeys,
  validate,
  type Logger,
  type PrincipalFor,
  type RunningTransport,
  type Schema,
  type SchemaOutput,
  type Transport,
  type TransportHost,
  type AccessRule,
  type Principal,
} from '@quintet/core'
import { DelayedError, UnrecoverableError, Worker, type ConnectionOptions, type Job } from 'bullmq'
import type { Redis } from 'ioredis'
import type { JobDefinition } from './define-job.ts'
import { createSealer, type Envelope, type EnvelopeSealer, type SecretText } from './envelope.ts'
import { queueDefaults } from './queue.ts'

export interface WorkerOptions {
  /** A connection without command timeout and with `maxRetriesPerRequest: null`. It stays its owner's. */
  readonly connection: Redis
  /** The secret with which jobs are signed. */
  readonly secret: SecretText
  /** @defaultValue `'quintet'` */
  readonly prefix?: string
  /** Jobs at once in this process. @defaultValue 4 */
  readonly concurrency?: number
}

export const workerDefaults = Object.freeze({ concurrency: 4 })

/** What a job's handler gets. */
export interface JobCall<Payload, Services, Caller extends Principal = Principal> {
  readonly payload: Payload
  readonly services: Services
  readonly principal: Caller
  readonly jobId: string
  /** Counts from 1. */
  readonly attempt: number
  readonly signal: AbortSignal
  readonly logger: Logger
}

export type JobHandler<Payload, Services> = (
  call: JobCall<Payload, Services, PrincipalFor<AccessRule>>,
) => Promise<unknown> | unknown

const knownKeys = ['connection', 'secret', 'prefix', 'concurrency']

/** These will not get better by trying again. */
const hopeless: ReadonlySet<string> = new Set([
  'invalid-input',
  'unauthenticated',
  'forbidden',
  'unsupported',
])

/**
 * A transport that runs the jobs of one kind, each through the pipeline of its process: access rule, wrappers,
 * deadline and all.
 *
 * A job whose envelope none of us has signed, or whose payload does not fit, becomes a dead letter at once.
 * Draining takes no further job, waits for those in progress, and aborts their signals when the time is up.
 */
export function worker<Payload extends Schema, Services = unknown>(
  job: JobDefinition<Payload>,
  options: WorkerOptions,
  handler: JobHandler<SchemaOutput<Payload>, Services>,
): Transport {
  const path = `worker ${job.name}`
  refuseUnknownKeys(options, knownKeys, path)
  const concurrency = options.concurrency ?? workerDefaults.concurrency
  if (!Number.isInteger(concurrency) || concurrency < 1) {
    throw new TypeError(`${path}: concurrency must be a whole number from 1, not ${String(concurrency)}.`)
  }
  const sealer = createSealer(options.secret)
  return {
    name: `worker:${job.name}`,
    operations: [job.operation],
    async start(host) {
      const running = new Worker<Envelope>(
        job.name,
        (each, token, signal) => runJob(job, each, token, signal, sealer, host, handler),
        {
          connection: options.connection as ConnectionOptions,
          prefix: options.prefix ?? queueDefaults.prefix,
          concurrency,
        },
      )
      running.on('error', (error) =>
        host.logger.warn({ err: error, job: job.name }, 'the worker has trouble with its queue'),
      )
      running.on('failed', (each, error) => {
        const left = each
          ? each.attemptsMade < (each.opts.attempts ?? 1) && !(error instanceof UnrecoverableError)
          : false
        host.logger.warn(
          {
            job: job.name,
            jobId: each?.id,
            attempt: each?.attemptsMade,
            reason: error.message,
            willRetry: left,
          },
          'job failed',
        )
      })
      await running.waitUntilReady()
      return toTransport(running)
    },
  }
}

function toTransport(running: Worker<Envelope>): RunningTransport {
  let closing: Promise<void> | undefined
  return {
    url: undefined,
    async drain(_, signal) {
      const finished = running.pause()
      if (await settlesBefore(finished, signal)) return
      running.cancelAllJobs('The process is stopping.')
    },
    close: () => (closing ??= running.close(true)),
  }
}

/** True when the promise settled, false when the signal came first. */
async function settlesBefore(promise: Promise<void>, signal: AbortSignal): Promise<boolean> {
  const aborted = Promise.withResolvers<false>()
  const onAbort = (): void => aborted.resolve(false)
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise.then(() => true as const), aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

async function runJob<Payload extends Schema, Services>(
  definition: JobDefinition<Payload>,
  job: Job<Envelope>,
  token: string | undefined,
  signal: AbortSignal | undefined,
  sealer: EnvelopeSealer,
  host: TransportHost,
  handler: JobHandler<SchemaOutput<Payload>, Services>,
): Promise<unknown> {
  const jobId = job.id ?? ''
  try {
    const { principal, context, payload } = sealer.open({ name: definition.name, id: jobId }, job.data)
    return await host.pipeline.run(
      {
        operation: definition.operation,
        credentials: { scheme: 'attested', principal, by: 'envelope' },
        requestId: jobId,
        traceparent: context.traceparent ?? undefined,
        signal: signal ?? new AbortController().signal,
      },
      {
        input: () => validate(definition.payload, payload),
        handle: (input, invocation) =>
          handler({
            payload: input,
            services: host.services as Services,
            principal: invocation.principal as PrincipalFor<AccessRule>,
            jobId,
            attempt: job.attemptsMade + 1,
            signal: invocation.signal,
            logger: invocation.logger,
          }),
      },
    )
  } catch (error) {
    if (!isQuintetError(error)) throw error
    if (error.code === 'ERR_CORE_STOPPING') {
      // Not the job's fault: somebody else runs it, and the attempt does not count.
      await job.moveToDelayed(Date.now() + 100, token)
      throw new DelayedError()
    }
    const reason = `${error.code}: ${error.message}`
    throw hopeless.has(error.kind)
      ? new UnrecoverableError(reason)
      : new Error(reason, { cause: error.cause ?? error })
  }
}
