import { option, readOptions } from '@quintet/core/kit'
import type { Job as BullJob, Queue as BullQueue } from 'bullmq'
import { QueueError } from '../errors.ts'
import type { Envelope } from './envelope.ts'
import { noTurn } from './fair-order.ts'
import type { LetterBox } from './letter-box.ts'
import { reseal } from './resign.ts'

/** A job that will not be tried again. */
export interface DeadLetter {
  readonly id: string
  /** Why, with the code of the error: `ERR_QUEUE_BAD_PAYLOAD: …`. */
  readonly reason: string
  readonly attempts: number
  /** When it was added, or replayed last; milliseconds since the epoch. */
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

const spec = { offset: option.count(0, { min: 0 }), limit: option.count(100, { min: 1 }) }

/** The latest first. */
export async function listDeadLetters(
  { bull, ask }: LetterBox,
  given: DeadLettersOptions = {},
): Promise<readonly DeadLetter[]> {
  const { offset, limit } = readOptions<DeadLettersOptions, typeof spec>(given, spec, 'deadLetters')
  const jobs = await ask(() => bull.getFailed(offset, offset + limit - 1))
  return jobs.filter((each) => each !== undefined).map(describe)
}

/** @throws QueueError `ERR_QUEUE_NO_DEAD_LETTER` */
export async function replayDeadLetter(box: LetterBox, id: string): Promise<void> {
  if (!(await box.ask(() => retry(box, id)))) throw noDeadLetter(box.bull, id)
}

/** Puts back all that are there now; the answer is their number. Those that another operator takes are that one's. */
export async function replayDeadLetters(box: LetterBox): Promise<number> {
  let replayed = 0
  for (const id of await box.ask(() => box.bull.getRanges(['failed'], 0, -1))) {
    if (await box.ask(() => retry(box, id))) replayed++
  }
  return replayed
}

/** @throws QueueError `ERR_QUEUE_NO_DEAD_LETTER` */
export async function removeDeadLetter({ bull, ask }: LetterBox, id: string): Promise<void> {
  const removed = await ask(async () => {
    const found = await bull.getJob(id)
    if (found === undefined || !(await found.isFailed())) return false
    await found.remove()
    return true
  })
  if (!removed) throw noDeadLetter(bull, id)
}

function noDeadLetter({ name }: BullQueue, id: string): QueueError {
  return new QueueError(
    'ERR_QUEUE_NO_DEAD_LETTER',
    `${name} has no dead letter with the id ${JSON.stringify(id)}.`,
  )
}

/** What a letter is replayed with, if it is still dead: it waits from now on, and earlier silences count no more. */
const reviveScript = `if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], 'data', ARGV[3]) end
redis.call('HSET', KEYS[2], 'timestamp', ARGV[2], 'delay', 0)
redis.call('HDEL', KEYS[2], 'stc')
-- Where tenants take turns, it gets one when it is taken.
if (redis.call('HGET', KEYS[2], 'priority') or '0') ~= '0' then redis.call('HSET', KEYS[2], 'priority', ${noTurn}) end
return 1`

/**
 * Replays from the first attempt, and signs anew what is genuine: it may have expired meanwhile, or its secret may be
 * old. The number of starts goes on, because the fencing token must grow. False when there is no such letter.
 */
async function retry({ bull, connection, prefix, job, signer }: LetterBox, id: string): Promise<boolean> {
  const letter = await bull.getJob(id)
  if (letter === undefined) return false
  const resealed = reseal(signer, { prefix, job: job.name, id }, letter.data, Date.now() + job.maxAge)
  const data = resealed === undefined ? '' : JSON.stringify(resealed)
  const keys = [bull.toKey('failed'), bull.toKey(id)]
  if ((await connection.eval(reviveScript, 2, ...keys, id, Date.now(), data)) !== 1) return false
  try {
    await letter.retry('failed', { resetAttemptsMade: true })
    return true
  } catch (error) {
    // Another operator was quicker.
    if (await letter.isFailed()) throw error
    return false
  }
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
