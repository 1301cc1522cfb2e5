import { refuseUnknownKeys } from '@quintet/core/kit'
import type { Job as BullJob, Queue as BullQueue } from 'bullmq'
import { QueueError } from '../errors.ts'
import type { Envelope } from './envelope.ts'
import type { LetterBox } from './letter-box.ts'
import { reseal } from './resign.ts'

/** A job that will not be tried again. */
export interface DeadLetter {
  readonly id: string
  /** Why, with the code of the error: `ERR_QUEUE_BAD_PAYLOAD: …`. */
  readonly reason: string
  readonly attempts: number
  /** Milliseconds since the epoch. */
  readonly enqueuedAt: number
  /** Milliseconds since the epoch. */
  readonly failedAt: number
  /** What its envelope says; not verified here. */
  readonly tenantId: string | null
  readonly userId: string | null
  readonly payload: unknown
}

export interface DeadLettersOptions {
  /** @defaultValue 0 */
  readonly offset?: number
  /** @defaultValue 100 */
  readonly limit?: number
}

/** The latest first. */
export async function listDeadLetters(
  queue: BullQueue,
  options: DeadLettersOptions = {},
): Promise<readonly DeadLetter[]> {
  refuseUnknownKeys(options, ['offset', 'limit'], 'deadLetters')
  const { offset = 0, limit = 100 } = options
  if (limit < 1) return []
  const jobs = await queue.getFailed(offset, offset + limit - 1)
  return jobs.filter((each) => each !== undefined).map(describe)
}

/** @throws QueueError `ERR_QUEUE_NO_DEAD_LETTER` */
export async function replayDeadLetter(box: LetterBox, id: string): Promise<void> {
  await retry(box, await find(box.bull, id))
}

/** Puts back all that are there now; the answer is their number. */
export async function replayDeadLetters(box: LetterBox): Promise<number> {
  let replayed = 0
  for (const letter of await box.bull.getFailed()) {
    if (letter === undefined) continue
    await retry(box, letter)
    replayed++
  }
  return replayed
}

/** @throws QueueError `ERR_QUEUE_NO_DEAD_LETTER` */
export async function removeDeadLetter(queue: BullQueue, id: string): Promise<void> {
  await (await find(queue, id)).remove()
}

async function find(queue: BullQueue, id: string): Promise<BullJob> {
  const found = await queue.getJob(id)
  if (found !== undefined && (await found.isFailed())) return found
  throw new QueueError(
    'ERR_QUEUE_NO_DEAD_LETTER',
    `${queue.name} has no dead letter with the id ${JSON.stringify(id)}.`,
  )
}

/**
 * From the first attempt, and signed anew if it is genuine: it may have expired meanwhile, or its secret may be old. The
 * number of starts goes on, because the fencing token must grow.
 */
async function retry({ bull, connection, prefix, job, signer }: LetterBox, letter: BullJob): Promise<void> {
  const address = { prefix, job: job.name, id: letter.id ?? '' }
  const resealed = reseal(signer, address, letter.data, Date.now() + job.maxAge)
  if (resealed !== undefined) await letter.updateData(resealed)
  await connection.hdel(bull.toKey(letter.id ?? ''), 'stc')
  await letter.retry('failed', { resetAttemptsMade: true })
}

function describe(job: BullJob): DeadLetter {
  const envelope = (job.data ?? {}) as Partial<Envelope>
  return {
    id: job.id ?? '',
    reason: job.failedReason ?? '',
    attempts: job.attemptsMade,
    enqueuedAt: job.timestamp,
    failedAt: job.finishedOn ?? job.timestamp,
    tenantId: envelope.ctx?.tenant ?? null,
    userId: envelope.ctx?.user ?? null,
    payload: envelope.payload,
  }
}
