import { setTimeout as delay } from 'node:timers/promises'
import { aborted, type RunningTransport } from '@quintet/core/kit'
import { Worker, type Job as BullJob, type Processor, type WorkerOptions } from 'bullmq'
import { openWaitingConnection } from '../jobs/connection.ts'
import { pauseAfter } from '../jobs/define-job.ts'
import { createReadableBackend, ReadableJob } from '../jobs/readable-jobs.ts'
import { createActiveJobs, type ActiveJobs } from './active-jobs.ts'
import { retryAfterOf } from './job-failure.ts'
import { performJob } from './perform-job.ts'
import { addWorkerHealth } from './worker-health.ts'
import type { WorkerParts } from './worker-parts.ts'

/** How long handlers that were told to stop may take to put their jobs back, in milliseconds. */
const giveBackTime = 500

class BullWorker extends Worker {
  protected override get Job(): typeof BullJob {
    return ReadableJob
  }
}

/** Connects, starts to take jobs, and answers with the handle to stop it. */
export async function startWorker(parts: WorkerParts): Promise<RunningTransport> {
  const { job, queue, host, options } = parts
  const { connection, close: closeConnection } = openWaitingConnection(queue.connection, host.logger)
  const ending = new AbortController()
  const active = createActiveJobs(options.lockDuration, ending.signal)
  let draining = false

  const state = { active, ending: ending.signal, isDraining: () => draining }
  const settings: WorkerOptions = {
    connection,
    prefix: queue.prefix,
    autorun: false,
    concurrency: options.concurrency,
    lockDuration: options.lockDuration,
    stalledInterval: options.lockDuration,
    // A run whose worker fell silent counts as an attempt; performJob gives the job up with its code.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    settings: {
      backoffStrategy: (attempts, _type, error) =>
        Math.max(retryAfterOf(error), pauseAfter(attempts, job.backoff)),
    },
  }
  const perform: Processor = (bullJob, token) => performJob(parts, state, bullJob, token)
  const bull = new BullWorker(job.name, perform, settings, createReadableBackend)
  /** While Redis is away BullMQ would wait for it; without its connections there is nothing to wait for. */
  const closeAll = async (): Promise<void> => {
    await Promise.race([bull.close(true).catch(() => undefined), delay(giveBackTime)])
    active.close()
    closeConnection()
  }
  reportEvents(bull, active, parts)
  try {
    await bull.waitUntilReady()
  } catch (error) {
    await closeAll()
    throw error
  }
  void bull
    .run()
    .catch((error: unknown) => host.logger.error({ err: error, job: job.name }, 'a worker has stopped'))
  addWorkerHealth(parts, active, () => draining || (bull.isRunning() && connection.status === 'ready'))

  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    draining = true
    ending.abort(new DOMException('The process stops.', 'AbortError'))
    if (active.size > 0) await Promise.race([active.idle(), delay(giveBackTime)])
    // BullMQ gives a job back after the processor has returned; without this, a close in between would lose that.
    if (active.size === 0) await Promise.race([bull.close(), delay(giveBackTime)])
    await closeAll()
  }

  return {
    url: undefined,
    async drain(_reason, signal) {
      draining = true
      await bull.pause(true)
      const inTime = await Promise.race([active.idle().then(() => true), aborted(signal).then(() => false)])
      if (inTime) return undefined
      ending.abort(signal.reason)
      await Promise.race([active.idle(), delay(giveBackTime)])
      return active.size === 0 ? 'handed-over' : undefined
    },
    close: () => (closing ??= close()),
  }
}

function reportEvents(bull: BullWorker, active: ActiveJobs, { job, host: { logger } }: WorkerParts): void {
  bull.on('locksRenewed', ({ jobIds }) => active.renewed(jobIds))
  bull.on('lockRenewalFailed', (jobIds) => {
    logger.warn({ job: job.name, jobIds }, 'the locks of jobs were lost')
    active.lost(jobIds)
  })
  bull.on('error', (error) =>
    logger.warn({ err: error, job: job.name }, 'a worker failed outside of its jobs'),
  )
  bull.on('failed', (failed, error) => {
    if (failed !== undefined && failed.finishedOn === undefined) return
    logger.error({ job: job.name, jobId: failed?.id, reason: error.message }, 'a job was given up')
  })
}
