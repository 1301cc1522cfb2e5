import type { Job as BullJob, JobType } from 'bullmq'
import type { Envelope, EnvelopeAddress, EnvelopeSigner } from './envelope.ts'
import type { LetterBox } from './letter-box.ts'

/** The envelope under the current secret; undefined for one that is not genuine. */
export function reseal(
  signer: EnvelopeSigner,
  address: EnvelopeAddress,
  data: unknown,
  expiresAt?: number,
): Envelope | undefined {
  try {
    const { principal, ctx, payload } = signer.open(address, data, { expired: true })
    const settings = { traceparent: ctx.traceparent ?? undefined, expiresAt: expiresAt ?? ctx.expiresAt }
    return signer.seal(address, principal, JSON.stringify(payload), settings)
  } catch {
    return undefined
  }
}

/** Signs jobs that may run yet, and dead ones, again with the current secret. One that ends meanwhile needs it no more. */
export async function resignJobs(
  box: LetterBox,
): Promise<{ readonly resigned: number; readonly refused: number }> {
  const { prefix, job, signer, ask } = box
  let resigned = 0
  let refused = 0
  for await (const each of unfinishedJobs(box)) {
    if (keyIdOf(each) === signer.keyId) continue
    const envelope = reseal(signer, { prefix, job: job.name, id: each.id ?? '' }, each.data)
    if (envelope === undefined) refused++
    else if (await ask(() => update(box, each, envelope))) resigned++
  }
  return { resigned, refused }
}

export async function countByKey(box: LetterBox): Promise<Readonly<Record<string, number>>> {
  const counts = new Map<string, number>()
  for await (const each of unfinishedJobs(box)) {
    const keyId = keyIdOf(each)
    counts.set(keyId, (counts.get(keyId) ?? 0) + 1)
  }
  return Object.fromEntries(counts)
}

/** Also those that run: they may fail, and are opened again then. */
const unfinished: readonly JobType[] = [
  'wait',
  'delayed',
  'prioritized',
  'active',
  'waiting-children',
  'failed',
]
const atOnce = 200

/** The jobs that there were at the beginning and that are still there, a part at once. */
async function* unfinishedJobs({ bull, ask }: LetterBox): AsyncGenerator<BullJob> {
  const ids = await ask(() => bull.getRanges([...unfinished], 0, -1))
  for (let at = 0; at < ids.length; at += atOnce) {
    const part = ids.slice(at, at + atOnce)
    const jobs = await ask(() =>
      Promise.all(part.map((id) => bull.getJob(id) as Promise<BullJob | undefined>)),
    )
    for (const each of jobs) {
      const isCompleted = each?.finishedOn !== undefined && each.failedReason === undefined
      if (each !== undefined && !isCompleted) yield each
    }
  }
}

const updateScript = `if redis.call('HGET', KEYS[1], 'data') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
return 1`

/** False when the job has gone, or its data is not what was read. */
async function update({ bull, connection }: LetterBox, job: BullJob, envelope: Envelope): Promise<boolean> {
  const [before, after] = [JSON.stringify(job.data), JSON.stringify(envelope)]
  return (await connection.eval(updateScript, 1, bull.toKey(job.id ?? ''), before, after)) === 1
}

function keyIdOf({ data }: BullJob): string {
  const { kid } = (data ?? {}) as Partial<Envelope>
  return typeof kid === 'string' ? kid : 'unsigned'
}
