import type { Job as BullJob, Queue as BullQueue } from 'bullmq'
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

/** Signs jobs that have not run yet, and dead ones, again with the current secret. */
export async function resignJobs({
  bull,
  prefix,
  job,
  signer,
}: LetterBox): Promise<{ readonly resigned: number; readonly refused: number }> {
  let resigned = 0
  let refused = 0
  for (const each of await jobsAtRest(bull)) {
    if (keyIdOf(each) === signer.keyId) continue
    const envelope = reseal(signer, { prefix, job: job.name, id: each.id ?? '' }, each.data)
    if (envelope === undefined) refused++
    else {
      await each.updateData(envelope)
      resigned++
    }
  }
  return { resigned, refused }
}

export async function countByKey(bull: BullQueue): Promise<Readonly<Record<string, number>>> {
  const groups = Map.groupBy(await jobsAtRest(bull), keyIdOf)
  return Object.fromEntries([...groups].map(([keyId, jobs]) => [keyId, jobs.length]))
}

async function jobsAtRest(bull: BullQueue): Promise<readonly BullJob[]> {
  const jobs = await bull.getJobs(['wait', 'delayed', 'prioritized', 'failed'])
  return jobs.filter((each) => each !== undefined)
}

function keyIdOf({ data }: BullJob): string {
  const { kid } = (data ?? {}) as Partial<Envelope>
  return typeof kid === 'string' ? kid : 'unsigned'
}
