import type { JobType } from 'bullmq'
import type { Envelope } from './envelope.ts'
import type { LetterBox } from './letter-box.ts'

/** Whose data is erased: a user of a tenant, or the whole tenant. */
export interface ErasureSubject {
  readonly tenantId: string
  /** Without it, of all users of the tenant. */
  readonly userId?: string
}

export interface Erased {
  /** What was removed. */
  readonly erased: number
  /** What is still to be worked on, and was left: ask again when it has ended. */
  readonly pending: number
}

const ended: readonly JobType[] = ['completed', 'failed']
const unfinished: readonly JobType[] = ['wait', 'delayed', 'prioritized', 'active', 'waiting-children']
const atOnce = 200

/** Removes the jobs of a subject that have ended, and counts those that have not. */
export async function eraseJobs(
  { bull, ask }: LetterBox,
  subject: ErasureSubject,
  tellsOf: (payload: unknown) => readonly string[],
): Promise<Erased> {
  let [erased, pending] = [0, 0]
  for (const [types, end] of [
    [unfinished, false],
    [ended, true],
  ] as const) {
    const ids = await ask(() => bull.getRanges([...types], 0, -1))
    for (let at = 0; at < ids.length; at += atOnce) {
      const jobs = await ask(() => Promise.all(ids.slice(at, at + atOnce).map((id) => bull.getJob(id))))
      for (const job of jobs) {
        if (job === undefined || !isAbout(job.data, subject, tellsOf)) continue
        if (!end) pending++
        else {
          await ask(() => job.remove())
          erased++
        }
      }
    }
  }
  return { erased, pending }
}

/** By what the envelope says, unverified: to forget what is not genuine does no harm. */
function isAbout(
  data: unknown,
  { tenantId, userId }: ErasureSubject,
  tellsOf: (payload: unknown) => readonly string[],
): boolean {
  const { ctx, payload } = (data ?? {}) as Partial<Envelope>
  if (ctx?.tenant !== tenantId) return false
  return userId === undefined || ctx.user === userId || tellsOf(payload).includes(userId)
}
