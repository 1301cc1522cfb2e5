import type { QuintetError } from '@quintet/core'
import { toQuintetError } from '@quintet/core/kit'
import { DelayedError, WaitingError, type Job as BullJob } from 'bullmq'
import { QueueError } from '../errors.ts'
import { shortestPauseAfter, type JobDefinition } from '../jobs/define-job.ts'
import type { EnvelopeSigner } from '../jobs/envelope.ts'
import { noTurn } from '../jobs/fair-order.ts'
import { parsePayload } from '../jobs/payload.ts'
import type { ActiveJob, ActiveJobs } from './active-jobs.ts'
import type { JobCall } from './job-call.ts'
import { retryAfterOf, toBullError } from './job-failure.ts'
import type { WorkerParts } from './worker-parts.ts'

/** The state of a worker that the performing of a job looks at. */
export interface WorkerState {
  readonly active: ActiveJobs
  /** Aborts when handlers must end. */
  readonly ending: AbortSignal
  readonly isDraining: () => boolean
}

/** Runs one job: verifies its envelope, sees whether it is its turn, and takes it through the pipeline. */
export async function performJob(
  parts: WorkerParts,
  state: WorkerState,
  bullJob: BullJob,
  token: string | undefined,
): Promise<void> {
  // BullMQ may have been waiting for this job when the worker was paused.
  if (state.isDraining()) return await giveBack(bullJob, token)
  const run = state.active.start(bullJob.id ?? '')
  // An earlier run whose lock was lost goes on in this process: another process may take the job, or this one later.
  if (run === undefined) return await putOff(bullJob, token, parts.options.lockDuration / 2)
  try {
    await performRun(parts, state, run, bullJob, token)
  } finally {
    run.end()
  }
}

async function performRun(
  parts: WorkerParts,
  { ending, isDraining }: WorkerState,
  run: ActiveJob,
  bullJob: BullJob,
  token: string | undefined,
): Promise<void> {
  const { job } = parts
  // A run that ended because its worker fell silent was an attempt as well.
  const attempt = bullJob.attemptsMade + bullJob.stalledCounter + 1
  if (attempt > job.attempts) {
    const message = `The workers of its ${job.attempts} attempts failed or fell silent.`
    throw toBullError(new QueueError('ERR_QUEUE_LOCK_LOST', message), true)
  }
  const envelope = openEnvelope(parts, bullJob)
  if (!(await isItsTurn(parts, bullJob, envelope.principal.tenantId))) return await giveBack(bullJob, token)
  try {
    await runPipeline(parts, run, envelope, bullJob, attempt)
  } catch (thrown) {
    const failure = toQuintetError(thrown)
    // Its time is over, and it goes on: it keeps its place, and the next attempt waits for its end.
    await run.handlerEnded()
    if (isGivenBack(failure, ending.aborted, isDraining())) return await giveBack(bullJob, token)
    const isLast = attempt >= job.attempts || nextAttemptExpires(job, failure, bullJob, envelope)
    if (!isLast) await parts.queue.fairOrder(job)?.leave(run.id)
    throw toBullError(failure, isLast)
  }
}

/** A job that had to wait for its time gets its turn only then: it may be that others come first. */
async function isItsTurn(
  { job, queue }: WorkerParts,
  bullJob: BullJob,
  tenantId: string | null,
): Promise<boolean> {
  if (bullJob.priority !== noTurn) return true
  return (await queue.fairOrder(job)?.isDue(tenantId, bullJob.id ?? '')) ?? true
}

type OpenedEnvelope = ReturnType<EnvelopeSigner['open']>

async function runPipeline(
  { job, host, handle }: WorkerParts,
  run: ActiveJob,
  envelope: OpenedEnvelope,
  bullJob: BullJob,
  attempt: number,
): Promise<void> {
  await host.pipeline.run(
    {
      operation: job.operation,
      credentials: { scheme: 'attested', principal: envelope.principal, by: 'envelope' },
      requestId: run.id,
      traceparent: envelope.ctx.traceparent ?? undefined,
      signal: run.signal,
    },
    {
      input: () => parsePayload(job, envelope.payload),
      handle: (payload, invocation) => {
        const handled = handle({
          payload,
          services: host.services,
          principal: invocation.principal as JobCall<JobDefinition>['principal'],
          attempt,
          jobId: run.id,
          fencingToken: bullJob.attemptsStarted,
          // Made only when asked for: most handlers need neither.
          get signal() {
            return invocation.signal
          },
          get logger() {
            return invocation.logger
          },
        })
        return handled instanceof Promise ? run.follow(handled) : handled
      },
    },
  )
}

/** Whether a further attempt would find the envelope expired: then this failure is what the dead letter tells of. */
function nextAttemptExpires(
  job: JobDefinition,
  failure: QuintetError,
  { attemptsMade }: BullJob,
  { ctx }: OpenedEnvelope,
): boolean {
  const pause = Math.max(shortestPauseAfter(attemptsMade + 1, job.backoff), retryAfterOf(failure))
  return Date.now() + pause > ctx.expiresAt
}

function openEnvelope({ job, queue }: WorkerParts, bullJob: BullJob): OpenedEnvelope {
  try {
    return queue.signer.open({ prefix: queue.prefix, job: job.name, id: bullJob.id ?? '' }, bullJob.data)
  } catch (error) {
    throw toBullError(toQuintetError(error), false, bullJob.failedReason)
  }
}

function isGivenBack(failure: QuintetError, isEnding: boolean, isDraining: boolean): boolean {
  if (failure.code === 'ERR_CORE_STOPPING') return isEnding || isDraining
  return isEnding && failure.kind === 'canceled'
}

/** Another process, or this one later, takes the job; the attempt does not count. */
async function giveBack(bullJob: BullJob, token: string | undefined): Promise<never> {
  await bullJob.moveToWait(token)
  throw new WaitingError()
}

async function putOff(bullJob: BullJob, token: string | undefined, milliseconds: number): Promise<never> {
  await bullJob.moveToDelayed(Date.now() + milliseconds, token)
  throw new DelayedError()
}
