import { QuintetError, uuidv7, type UserPrincipal } from '@quintet/core'
import { exportParts, exports } from '@quintet/example-platform/events'
import { worker, type JobCall } from '@quintet/queue'
import { asSystem } from '@quintet/rls'
import { sql } from 'kysely'
import type { AuthServices } from './services.ts'
import { viewUser } from './account-schema.ts'

/** How many apps an export waits for: this one too. */
const apps = ['auth', ...Object.keys(exports)]

/** Asks all apps for what they keep of the caller, or of the tenant. */
export async function requestExport(
  { db, events }: AuthServices,
  principal: UserPrincipal,
  of: 'user' | 'tenant',
): Promise<string> {
  const { tenantId } = principal
  const userId = of === 'user' ? principal.userId : null
  const exportId = uuidv7()
  await asSystem('export what is kept of a user or tenant', () =>
    db.transaction().execute(async (trx) => {
      await sql`delete from exports where created_at < now() - interval '7 days'
        or (tenant_id = ${tenantId} and user_id is not distinct from ${userId})`.execute(trx)
      await trx
        .insertInto('exports')
        .values({ id: exportId, tenant_id: tenantId, user_id: userId, requested_by: principal.userId })
        .execute()
      const users = await trx
        .selectFrom('users')
        .selectAll()
        .where('tenant_id', '=', tenantId)
        .$if(userId !== null, (query) => query.where('id', '=', userId ?? ''))
        .execute()
      const rows = JSON.stringify(users.map((user) => ({ kind: 'user', ...viewUser(user) })))
      await trx
        .insertInto('export_parts')
        .values({ tenant_id: tenantId, export_id: exportId, app: 'auth', part: 0, last: true, rows })
        .execute()
      await events.publish(trx, 'account.export-requested', { exportId, userId }, { principal })
    }),
  )
  return exportId
}

/** What has arrived of an export that the caller asked for. @throws QuintetError `ERR_ACCOUNT_NO_EXPORT` (not-found). */
export async function readExport(
  { db }: AuthServices,
  { tenantId, userId }: UserPrincipal,
  exportId: string,
): Promise<{ readonly complete: boolean; readonly rows: Readonly<Record<string, readonly unknown[]>> }> {
  const parts = await asSystem('read an export', () =>
    db
      .selectFrom('exports')
      .innerJoin('export_parts', (join) =>
        join
          .onRef('export_parts.export_id', '=', 'exports.id')
          .onRef('export_parts.tenant_id', '=', 'exports.tenant_id'),
      )
      .select(['app', 'part', 'last', 'rows'])
      .where('exports.tenant_id', '=', tenantId)
      .where('exports.id', '=', exportId)
      .where('requested_by', '=', userId)
      .orderBy('app')
      .orderBy('part')
      .execute(),
  )
  if (parts.length === 0)
    throw new QuintetError('There is no such export.', { code: 'ERR_ACCOUNT_NO_EXPORT', kind: 'not-found' })
  return {
    // Parts come in any order: complete is what has its last one and all before it.
    complete: apps.every((app) => {
      const arrived = parts.filter((part) => part.app === app)
      return arrived.some(({ part, last }) => last && arrived.length === part + 1)
    }),
    rows: Object.fromEntries(
      apps.map((app) => [app, parts.flatMap((part) => (part.app === app ? part.rows : []))]),
    ),
  }
}

/** Takes the parts that other apps send; what comes again, or for an export that is gone, changes nothing. */
export const collector = worker(exportParts, { queue: ({ jobs }: AuthServices) => jobs }, collect)

async function collect({
  payload: { exportId, app, part, last, rows },
  principal: { tenantId },
  services,
}: JobCall<typeof exportParts, AuthServices>): Promise<void> {
  await asSystem('collect an export', () =>
    sql`insert into export_parts (tenant_id, export_id, app, part, last, rows)
      select tenant_id, id, ${app}, ${part}, ${last}, ${JSON.stringify(rows)}::jsonb from exports
      where tenant_id = ${tenantId} and id = ${exportId} on conflict do nothing`.execute(services.db),
  )
}
