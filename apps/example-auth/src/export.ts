import { QuintetError, uuidv7, type UserPrincipal } from '@quintet/core'
import { exportParts, exports } from '@quintet/example-platform/events'
import { worker, type JobCall } from '@quintet/queue'
import { asSystem } from '@quintet/rls'
import { sql, type Kysely, type Transaction } from 'kysely'
import { assertCaller, changeAccounts } from './account-change.ts'
import { recordAudit } from './audit.ts'
import type { AuthTables } from './schema.ts'
import type { AuthServices } from './services.ts'

/** What an export waits for: this app too. */
const apps = ['auth', ...Object.keys(exports)]

/** How many exports of one user, or of one tenant, are made in a day. */
const perDay = { limit: 3, period: '1d' } as const

/**
 * Asks all apps for what they keep of the caller, or of the tenant. One that is being made is not made twice.
 *
 * @throws QuintetError `ERR_ACCOUNT_TOO_MANY_EXPORTS` (rate-limited), `ERR_ACCOUNT_EXPORT_RUNNING` (conflict) when another
 *   owner has asked for that of the tenant.
 */
export async function requestExport(
  services: AuthServices,
  principal: UserPrincipal,
  of: 'user' | 'tenant',
): Promise<string> {
  const { tenantId } = principal
  const subject = { tenantId, userId: of === 'user' ? principal.userId : null }
  const running = await asSystem('look for a running export', () => findRunning(services.db, subject))
  if (running) return ownExport(running, principal)
  const pace = await services.limiter.consume(`exports:${tenantId}:${subject.userId ?? 'all'}`, perDay)
  if (!pace.allowed)
    throw new QuintetError('There were several exports today. Try again later.', {
      code: 'ERR_ACCOUNT_TOO_MANY_EXPORTS',
      kind: 'rate-limited',
      retryAfter: pace.retryAfter,
    })
  return await changeAccounts(services, tenantId, 'export what is kept', async ({ trx }) => {
    await assertCaller(trx, principal, of === 'tenant' ? { role: 'owner' } : {})
    const meanwhile = await findRunning(trx, subject)
    if (meanwhile) return ownExport(meanwhile, principal)
    const exportId = await addExport(trx, subject, principal.userId)
    const data = { exportId, userId: subject.userId, part: 0, after: null }
    await services.events.publish(trx, 'account.export-requested', data, { principal })
    await recordAudit(trx, {
      tenantId,
      type: 'export.requested',
      actorId: principal.userId,
    })
    return exportId
  })
}

interface Subject {
  readonly tenantId: string
  /** Null for the whole tenant. */
  readonly userId: string | null
}

interface RunningExport {
  readonly id: string
  readonly requested_by: string
}

/** The export of a subject that some app has not finished; after a day it is given up. */
async function findRunning(
  db: Kysely<AuthTables>,
  { tenantId, userId }: Subject,
): Promise<RunningExport | undefined> {
  const { rows } = await sql<RunningExport>`
    select id, requested_by from exports
    where tenant_id = ${tenantId} and user_id is not distinct from ${userId}::uuid
      and created_at > now() - interval '1 day'
      and ${apps.length} > (select count(*) from export_parts where tenant_id = ${tenantId} and export_id = id and last)
  `.execute(db)
  return rows[0]
}

function ownExport({ id, requested_by }: RunningExport, { userId }: UserPrincipal): string {
  if (requested_by === userId) return id
  throw new QuintetError('Another owner is exporting the tenant.', {
    code: 'ERR_ACCOUNT_EXPORT_RUNNING',
    kind: 'conflict',
  })
}

/** Takes the place of the former export of the same; this app's own part is there at once. */
async function addExport(
  trx: Transaction<AuthTables>,
  { tenantId, userId }: Subject,
  requestedBy: string,
): Promise<string> {
  const exportId = uuidv7()
  await trx
    .deleteFrom('exports')
    .where('tenant_id', '=', tenantId)
    .where('user_id', 'is not distinct from', userId)
    .execute()
  await trx
    .insertInto('exports')
    .values({ id: exportId, tenant_id: tenantId, user_id: userId, requested_by: requestedBy })
    .execute()
  await exportOwn(trx, { tenantId, userId }, exportId)
  return exportId
}

/** What this app itself keeps of a user or tenant, in parts of 1,000 rows: no password, and nothing that signs in. */
async function exportOwn(
  trx: Transaction<AuthTables>,
  { tenantId, userId }: Subject,
  exportId: string,
): Promise<void> {
  await sql`
    with subject as (select ${tenantId}::uuid as tenant_id, ${userId}::uuid as user_id),
    kept as (
      select 1 as place, id::text, jsonb_build_object('kind', 'user', 'id', id, 'tenantId', tenant_id, 'email', email,
        'name', name, 'emailVerified', email_verified_at is not null, 'roles', roles, 'createdAt', users.created_at) as row
      from users join subject using (tenant_id) where coalesce(subject.user_id, id) = id
      union all
      select 2, id, jsonb_build_object('kind', 'session', 'user', s.user_id, 'device', device, 'methods', amr,
        'createdAt', to_timestamp(s.created_at / 1000.0), 'expiresAt', to_timestamp(expires_at / 1000.0),
        'endedAt', to_timestamp(revoked_at / 1000.0))
      from auth_sessions s, subject
      where s.tenant_id = subject.tenant_id::text and coalesce(subject.user_id::text, s.user_id) = s.user_id
      union all
      select 2, f.user_id::text, jsonb_build_object('kind', 'second-factor', 'confirmedAt', confirmed_at)
      from second_factors f join users on users.id = f.user_id join subject using (tenant_id)
      where coalesce(subject.user_id, users.id) = users.id
      union all
      select 3, email, jsonb_build_object('kind', 'invitation', 'email', email, 'roles', roles, 'invitedBy', invited_by,
        'expiresAt', expires_at)
      from tickets t join subject using (tenant_id)
      where t.kind = 'invitation' and coalesce(subject.user_id, invited_by) = invited_by
      union all
      select 3, m.id::text, jsonb_build_object('kind', 'machine', 'name', name, 'scopes', scopes, 'addedBy', added_by,
        'addedAt', added_at, 'expiresAt', expires_at, 'lastUsedAt', last_used_at)
      from machines m join subject using (tenant_id) where coalesce(subject.user_id, added_by) = added_by
      union all
      select 4, id::text, jsonb_build_object('kind', 'audit', 'type', type, 'actor', actor_id, 'user', a.user_id,
        'address', address, 'email', email, 'at', a.created_at)
      from audit_events a join subject using (tenant_id)
      where subject.user_id is null or subject.user_id in (actor_id, a.user_id)),
    numbered as (select row, row_number() over (order by place, id) as number from kept),
    parts as (
      select (number - 1) / 1000 as part, jsonb_agg(row order by number) as rows from numbered group by 1)
    insert into export_parts (tenant_id, export_id, app, part, last, rows)
    select ${tenantId}, ${exportId}, 'auth', part, part = max(part) over (), rows from parts`.execute(trx)
}

export interface ExportProgress {
  /** All apps have given all that they keep. */
  readonly complete: boolean
  /** By app, how many parts have arrived, and whether the last one has. */
  readonly apps: Readonly<Record<string, { readonly parts: number; readonly complete: boolean }>>
}

/** How far an export is. @throws QuintetError `ERR_ACCOUNT_NO_EXPORT` (not-found). */
export async function readProgress(
  { db }: AuthServices,
  principal: UserPrincipal,
  exportId: string,
): Promise<ExportProgress> {
  const { rows } = await asSystem('read how far an export is', () =>
    sql<{ app: string; parts: number; complete: boolean }>`
      select app, count(*)::int as parts, bool_or(last) as complete from export_parts
      where (tenant_id, export_id) in (${readable(principal, exportId)}) group by app`.execute(db),
  )
  if (rows.length === 0) throw noExport()
  const found = new Map(rows.map(({ app, ...progress }) => [app, progress]))
  return {
    complete: apps.every((app) => found.get(app)?.complete),
    apps: Object.fromEntries(apps.map((app) => [app, found.get(app) ?? { parts: 0, complete: false }])),
  }
}

/** A part of an export that has arrived. @throws QuintetError `ERR_ACCOUNT_NO_EXPORT` (not-found). */
export async function readPart(
  { db }: AuthServices,
  principal: UserPrincipal,
  { id, app, part }: { readonly id: string; readonly app: string; readonly part: number },
): Promise<readonly unknown[]> {
  const { rows } = await asSystem('read a part of an export', () =>
    sql<{ rows: readonly unknown[] }>`
      select rows from export_parts
      where (tenant_id, export_id) in (${readable(principal, id)}) and app = ${app} and part = ${part}`.execute(
      db,
    ),
  )
  if (rows[0]) return rows[0].rows
  throw noExport()
}

/** An export belongs to who has asked for it; that of a tenant as long as they are one of its owners. */
function readable({ tenantId, userId }: UserPrincipal, exportId: string) {
  return sql`select tenant_id, id from exports
    where tenant_id = ${tenantId} and id = ${exportId} and requested_by = ${userId}
      and (user_id is not null or exists (
        select from users where tenant_id = ${tenantId} and users.id = ${userId} and 'owner' = any (roles)))`
}

function noExport(): QuintetError {
  return new QuintetError('There is no such export.', { code: 'ERR_ACCOUNT_NO_EXPORT', kind: 'not-found' })
}

/** Takes the parts that other apps send, and asks for those that follow. */
export const collector = worker(exportParts, { queue: ({ jobs }: AuthServices) => jobs }, collect)

/** What comes again changes nothing; for an export that is gone no more is asked for. */
async function collect({
  payload: { exportId, app, userId, part, next, rows },
  principal,
  services: { db, jobs },
}: JobCall<typeof exportParts, AuthServices>): Promise<void> {
  const { tenantId } = principal
  const isWanted = await asSystem('collect an export', async () => {
    await sql`insert into export_parts (tenant_id, export_id, app, part, last, rows)
      select tenant_id, id, ${app}, ${part}, ${next === null}, ${JSON.stringify(rows)}::jsonb from exports
      where tenant_id = ${tenantId} and id = ${exportId} and user_id is not distinct from ${userId}::uuid
      for key share on conflict do nothing`.execute(db)
    const found = await db
      .selectFrom('exports')
      .select('id')
      .where('tenant_id', '=', tenantId ?? '')
      .where('id', '=', exportId)
      .executeTakeFirst()
    return found !== undefined
  })
  const exporter = Object.hasOwn(exports, app) ? exports[app as keyof typeof exports] : undefined
  if (!isWanted || next === null || exporter === undefined) return
  await jobs.enqueue(
    exporter,
    {
      id: `${exportId}/${app}/${part + 1}`,
      topic: 'account.export-requested',
      occurredAt: new Date().toISOString(),
      data: { exportId, userId, part: part + 1, after: next },
    },
    { principal, idempotencyKey: `${exportId}/${app}/${part + 1}` },
  )
}
