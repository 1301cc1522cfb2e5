import type { Transport } from '@quintet/core'
import { worker, type ErasureSubject, type JobCall, type Queue } from '@quintet/queue'
import { asSystem } from '@quintet/rls'
import type { KeysetPage } from '@quintet/rls/data'
import { exportParts, exports } from './events.ts'

/** Reads the next page of one kind of thing that an app keeps of a user or a tenant, as JSON. */
export type ReadPage<Services> = (
  services: Services,
  subject: ErasureSubject,
  after: string | undefined,
) => Promise<KeysetPage<unknown>>

/**
 * The worker by which an app hands over what it keeps of a user or a tenant, kind after kind: one page for each time that it
 * is asked. The auth app asks for the page that follows as long as the export is wanted, so that one is on its way at most, and those of
 * many exports take turns.
 */
export function exportWorker<Services extends { readonly jobs: Queue }>(
  app: keyof typeof exports,
  ...kinds: readonly ReadPage<Services>[]
): Transport {
  const job = exports[app]
  const queue = ({ jobs }: Services): Queue => jobs
  return worker(job, { queue }, async (call: JobCall<typeof job, Services>) => {
    const { payload, principal, services } = call
    const { exportId, userId, part, after } = payload.data
    const { tenantId } = principal
    if (tenantId === null) return
    const subject = { tenantId, ...(userId !== null && { userId }) }
    const { items, next } = await asSystem('export what is kept of a user or tenant', () =>
      readKinds(kinds, services, subject, after),
    )
    await services.jobs.enqueue(
      exportParts,
      { exportId, app, userId, part, next, rows: [...items] },
      { principal, idempotencyKey: `${exportId}/${app}/${part}` },
    )
  })
}

/** A cursor is the number of a kind, and the cursor within it. */
async function readKinds<Services>(
  kinds: readonly ReadPage<Services>[],
  services: Services,
  subject: ErasureSubject,
  after: string | null,
): Promise<KeysetPage<unknown>> {
  const [, kind = '0', within] = /^(\d{1,3})(?:\/(.+))?$/.exec(after ?? '') ?? []
  const { items, next } = (await kinds[Number(kind)]?.(services, subject, within)) ?? {
    items: [],
    next: null,
  }
  if (next !== null) return { items, next: `${kind}/${next}` }
  const following = Number(kind) + 1
  return { items, next: following < kinds.length ? String(following) : null }
}
