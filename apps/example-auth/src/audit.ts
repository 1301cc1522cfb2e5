import { uuidv7 } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { defineKeyset, type KeysetPage, type KeysetRequest } from '@quintet/rls/data'
import { sql, type Kysely, type Selectable } from 'kysely'
import type { AuthTables } from './schema.ts'

export type AuditEvent = Selectable<AuthTables['audit_events']>

export type AuditType =
  | 'email.verified'
  | 'export.requested'
  | 'invitation.accepted'
  | 'invitation.sent'
  | 'invitation.withdrawn'
  | 'machine.added'
  | 'machine.removed'
  | 'machine.signed-in'
  | 'maintenance.changed'
  | 'password.changed'
  | 'password.refused'
  | 'password.reset'
  | 'password.reset-requested'
  | 'roles.changed'
  | 'second-factor.enrolled'
  | 'second-factor.refused'
  | 'second-factor.removed'
  | 'second-factor.used'
  | 'session.ended'
  | 'sessions.ended'
  | 'setting.changed'
  | 'sign-in.failed'
  | 'sign-in.succeeded'
  | 'tenant.removed'
  | 'tenant.signed-up'
  | 'user.removed'

export interface AuditEntry {
  readonly tenantId: string
  readonly type: AuditType
  /** Who did it; left out where it is not known. */
  readonly actorId?: string
  /** To whom. @defaultValue the actor */
  readonly userId?: string
  readonly address?: string | null
  /** Who was invited; forgotten with the user of that address. */
  readonly email?: string
}

/**
 * Records who did what, for the owners of the tenant. Where they came from only as long as they are a user: who is removed
 * meanwhile may have been erased already.
 */
export async function recordAudit(db: Kysely<AuthTables>, entry: AuditEntry): Promise<void> {
  const { tenantId, type, actorId = null, userId = actorId, address = null, email = null } = entry
  // The lock waits for who is being removed.
  const came =
    userId === null || address === null
      ? address
      : sql<string | null>`(select ${address}::text from users where id = ${userId} for key share)`
  await asSystem('record an audit event', () =>
    db
      .insertInto('audit_events')
      .values({
        id: uuidv7(),
        tenant_id: tenantId,
        type,
        actor_id: actorId,
        user_id: userId,
        address: came,
        email,
      })
      .execute(),
  )
}

const newestFirst = defineKeyset([{ column: 'id', type: 'uuid', direction: 'desc' }])

/** What happened in the caller's tenant, newest first; of other tenants, and to members, nothing. */
export function listAudit(db: Kysely<AuthTables>, page: KeysetRequest): Promise<KeysetPage<AuditEvent>> {
  return newestFirst.page(db.selectFrom('audit_events').selectAll(), page)
}

/** Forgets tickets that have expired, exports of more than a week ago, and events of more than a year ago. */
export async function forgetOld(db: Kysely<AuthTables>): Promise<void> {
  await asSystem('forget old tickets, exports and audit events', async () => {
    await db.deleteFrom('tickets').where('expires_at', '<', new Date()).execute()
    await sql`delete from exports where created_at < now() - interval '7 days'`.execute(db)
    await sql`delete from audit_events where created_at < now() - interval '400 days'`.execute(db)
  })
}
