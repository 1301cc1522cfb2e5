import { setTimeout as delay } from 'node:timers/promises'
import { isQuintetError, type QuintetError } from '@quintet/core'
import { type RunningTransport, toQuintetError, type TransportHost } from '@quintet/core/kit'
import {
  DelayedError,
  UnrecoverableError,
  WaitingError,
  Worker as BullWorker,
  type Job as BullJob,
} from 'bullmq'
import { pauseAfter, type JobDefinition } from '../jobs/define-job.ts'
import { openWaitingConnection } from '../jobs/connection.ts'
import type { EnvelopeSigner } from '../jobs/envelope.ts'
import { isPermanent } from '../errors.ts'
import { parsePayload } from '../jobs/payload.ts'
import type { Queue } from '../jobs/create-queue.ts'
import type { JobCall } from './worker.ts'
import type { ResolvedWorkerOptions } from './worker-options.ts'

interface WorkerParts {
  readonly job: JobDefinition
  readonly host: TransportHost
  readonly queue: Queue
  readonly options: ResolvedWorkerOptions
  readonly handle: (call: JobCall<JobDefinition>) => unknown
}

/** How long handlers that were told to stop may take to put their jobs back, in milliseconds. */
const giveBackTime = 500

/** Connects, starts to take jobs, and answers with the handle to stop it. */
export async function startWorker({
  job,
  queue,
  host,
  options,
  handle,
}: WorkerParts): Promise<RunningTransport> {
  const { logger } = host
  const { prefix, signer } = queue
  const { connection, close: closeConnection } = openWaitingConnection(queue.connection, logger)
  const ending = new AbortController()
  const perTenant = new Map<string, number>()
  let active = 0
  let draining = false
  let onIdle: (() => void) | undefined

  const bull = new BullWorker(job.name, (bullJob, token) => track(bullJob, token), {
    connection,
    prefix,
    autorun: false,
    concurrency: options.concurrency,
    lockDuration: options.lockDuration,
    stalledInterval: options.lockDuration,
    maxStalledCount: job.attempts,
    settings: {
      backoffStrategy: (attempts, _type, error) =>
        Math.max(retryAfterOf(error), pauseAfter(attempts, job.backoff)),
    },
  })
  bull.on('error', (error) =>
    logger.warn({ err: error, job: job.name }, 'a worker failed outside of its jobs'),
  )
  bull.on('failed', (failed, error) => {
    if (failed !== undefined && failed.finishedOn === undefined) return
    logger.error({ job: job.name, jobId: failed?.id, reason: error.message }, 'a job was given up')
  })

  const track = async (bullJob: BullJob, token: string | undefined): Promise<void> => {
    active++
    try {
      await perform(bullJob, token)
    } finally {
      active--
      if (active === 0) onIdle?.()
    }
  }

  const perform = async (bullJob: BullJob, token: string | undefined): Promise<void> => {
    // BullMQ may have been waiting for this job when the worker was paused.
    if (draining) return await giveBack(bullJob, token)
    const envelope = openEnvelope(bullJob)
    const tenant = envelope.principal.tenantId ?? ''
    const running = perTenant.get(tenant) ?? 0
    if (running >= options.tenantConcurrency) {
      // Makes room for other tenants; the attempt does not count.
      await bullJob.moveToDelayed(Date.now() + 50 + Math.random() * 150, token)
      throw new DelayedError()
    }
    perTenant.set(tenant, running + 1)
    try {
      await host.pipeline.run(
        {
          operation: job.operation,
          credentials: { scheme: 'attested', principal: envelope.principal, by: 'envelope' },
          requestId: bullJob.id ?? '',
          traceparent: envelope.ctx.traceparent ?? undefined,
          signal: ending.signal,
        },
        {
          input: () => parsePayload(job, envelope.payload),
          handle: (payload, invocation) =>
            handle({
              payload,
              services: host.services,
              principal: invocation.principal as JobCall<JobDefinition>['principal'],
              attempt: bullJob.attemptsMade + 1,
              jobId: bullJob.id ?? '',
              // Made only when asked for: most handlers need neither.
              get signal() {
                return invocation.signal
              },
              get logger() {
                return invocation.logger
              },
            }),
        },
      )
    } catch (thrown) {
      const failure = toQuintetError(thrown)
      if (isGivenBack(failure)) return await giveBack(bullJob, token)
      throw toBullError(failure)
    } finally {
      const left = (perTenant.get(tenant) ?? 1) - 1
      if (left === 0) perTenant.delete(tenant)
      else perTenant.set(tenant, left)
    }
  }

  /** The process stops: another one takes the job at once, and the attempt does not count. */
  const giveBack = async (bullJob: BullJob, token: string | undefined): Promise<never> => {
    await bullJob.moveToWait(token)
    throw new WaitingError()
  }

  const openEnvelope = (bullJob: BullJob): ReturnType<EnvelopeSigner['open']> => {
    try {
      return signer.open({ prefix, job: job.name, id: bullJob.id ?? '' }, bullJob.data)
    } catch (error) {
      throw toBullError(toQuintetError(error))
    }
  }

  const isGivenBack = (failure: QuintetError): boolean =>
    (ending.signal.aborted && (failure.kind === 'canceled' || failure.code === 'ERR_CORE_STOPPING')) ||
    (draining && failure.code === 'ERR_CORE_STOPPING')

  const idle = (): Promise<void> => {
    if (active === 0) return Promise.resolve()
    return new Promise((resolve) => {
      onIdle = resolve
    })
  }

  try {
    await bull.waitUntilReady()
  } catch (error) {
    await bull.close(true)
    closeConnection()
    throw error
  }
  void bull
    .run()
    .catch((error: unknown) => logger.error({ err: error, job: job.name }, 'a worker has stopped'))
  addHealthCheck({ job, queue, host, options, isRunning: () => draining || bull.isRunning() })

  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    draining = true
    ending.abort(new DOMException('The process stops.', 'AbortError'))
    if (active > 0) await Promise.race([idle(), delay(giveBackTime)])
    // BullMQ gives a job back after the processor has returned; without this, a close in between would lose that.
    if (active === 0) await Promise.race([bull.close(), delay(giveBackTime)])
    await bull.close(true)
    closeConnection()
  }

  return {
    url: undefined,
    async drain(_reason, signal) {
      draining = true
      await bull.pause(true)
      const stop = (): void => ending.abort(signal.reason)
      if (signal.aborted) stop()
      else signal.addEventListener('abort', stop, { once: true })
      const ended = new Promise<void>((resolve) => {
        if (ending.signal.aborted) resolve()
        else ending.signal.addEventListener('abort', () => resolve(), { once: true })
      })
      await Promise.race([idle(), ended])
      if (active > 0) await Promise.race([idle(), delay(giveBackTime)])
      signal.removeEventListener('abort', stop)
    },
    close: () => (closing ??= close()),
  }
}

/** An error as BullMQ keeps it: with the code, and with what only operators may know. */
class JobFailure extends Error {
  readonly retryAfter: number | undefined

  constructor(failure: QuintetError) {
    super(describeFailure(failure))
    this.name = 'JobFailure'
    this.retryAfter = failure.retryAfter
  }
}

function toBullError(failure: QuintetError): Error {
  return isPermanent(failure) ? new UnrecoverableError(describeFailure(failure)) : new JobFailure(failure)
}

function describeFailure(failure: QuintetError): string {
  const { cause } = failure
  const reason =
    failure.kind === 'internal' && cause instanceof Error && !isQuintetError(cause)
      ? cause.message
      : failure.message
  return `${failure.code}: ${reason}`
}

function retryAfterOf(error: Error | undefined): number {
  return error instanceof JobFailure ? (error.retryAfter ?? 0) : 0
}

function addHealthCheck(parts: Omit<WorkerParts, 'handle'> & { readonly isRunning: () => boolean }): void {
  const { job, queue, host, options, isRunning } = parts
  host.health.add({
    name: `queue:${job.name}`,
    critical: false,
    async check() {
      if (!isRunning()) throw new Error('the worker has stopped')
      const { waiting, active, dead, oldestWaiting } = await queue.counts(job)
      const detail = `${waiting} waiting, ${active} active, ${dead} dead, the oldest waits for ${Math.round(oldestWaiting)} ms`
      if (oldestWaiting > options.maxLag) throw new Error(detail)
      return detail
    },
  })
}
