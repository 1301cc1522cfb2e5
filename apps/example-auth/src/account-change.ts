import type { PendingRevocation, RevokeWithinOptions } from '@quintet/auth'
import { QuintetError, type UserPrincipal } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { sql, type Transaction } from 'kysely'
import type { AuthTables } from './schema.ts'
import type { AuthServices } from './services.ts'

/** A change of the accounts of one tenant, while it is made. */
export interface AccountChange {
  readonly trx: Transaction<AuthTables>
  /** Ends sessions of users of the tenant in the same transaction. Resolves to how many. */
  endSessions(userIds: readonly string[], options: RevokeWithinOptions): Promise<number>
}

/**
 * Changes accounts of a tenant in one transaction, together with the end of the sessions that are not to outlive the
 * change. Those of one tenant take turns, and a tenant that was removed has none.
 *
 * @throws QuintetError `ERR_ACCOUNT_NO_TENANT` (not-found)
 */
export async function changeAccounts<Result>(
  { db, sessions }: Pick<AuthServices, 'db' | 'sessions'>,
  tenantId: string,
  reason: string,
  steps: (change: AccountChange) => Promise<Result>,
): Promise<Result> {
  const ended: PendingRevocation[] = []
  const result = await asSystem(reason, () =>
    db.transaction().execute(async (trx) => {
      await lockTenant(trx, tenantId)
      return await steps({
        trx,
        async endSessions(userIds, options) {
          const users = userIds.map((userId) => ({ tenantId, userId }))
          const pending = await sessions.revokeWithin(trx, users, options)
          ended.push(pending)
          return pending.ended.length
        },
      })
    }),
  )
  // What was committed holds: should Redis be away, it hears of it as soon as it is back.
  for (const each of ended) await each.announce()
  return result
}

/**
 * Holds the caller of a change against what was true when they were let in: they may have been removed, been given other
 * roles or lost their session while a password was hashed or another change had its turn.
 *
 * @throws QuintetError `ERR_ACCOUNT_CALLER_CHANGED` (unauthenticated)
 */
export async function assertCaller(
  trx: Transaction<AuthTables>,
  { tenantId, userId, sessionId }: UserPrincipal,
  { role, epoch = null }: { readonly role?: 'owner'; readonly epoch?: number | null },
): Promise<void> {
  const { rows } = await sql`
    select 1 from users
    where tenant_id = ${tenantId} and id = ${userId}
      and (${role ?? null}::text is null or ${role ?? null} = any (roles))
      and (${epoch}::integer is null or ${epoch} = coalesce((
        select epoch from auth_session_epochs e where e.tenant_id = ${tenantId} and e.user_id = ${userId}), 0))
      and (${sessionId}::text is null or exists (
        select from auth_sessions s
        where s.id = ${sessionId} and s.tenant_id = ${tenantId} and s.user_id = ${userId} and s.revoked_at is null))
  `.execute(trx)
  if (rows.length === 1) return
  throw new QuintetError('The account has changed meanwhile. Sign in again.', {
    code: 'ERR_ACCOUNT_CALLER_CHANGED',
    kind: 'unauthenticated',
  })
}

async function lockTenant(trx: Transaction<AuthTables>, tenantId: string): Promise<void> {
  const tenant = await trx
    .selectFrom('tenants')
    .select('id')
    .where('id', '=', tenantId)
    .where('removed_at', 'is', null)
    .forNoKeyUpdate()
    .executeTakeFirst()
  if (tenant) return
  throw new QuintetError('There is no such tenant.', { code: 'ERR_ACCOUNT_NO_TENANT', kind: 'not-found' })
}
