import { QuintetError, type UserPrincipal } from '@quintet/core'
import { erasureWorker } from '@quintet/example-platform/erasure'
import { asSystem } from '@quintet/rls'
import { sql, type Transaction } from 'kysely'
import { recordAudit } from './audit.ts'
import type { Role } from './roles.ts'
import type { AuthTables } from './schema.ts'
import type { AuthServices } from './services.ts'

/**
 * Removes a user from the caller's tenant. The other apps hear of it and erase what they keep.
 *
 * @throws QuintetError `ERR_ACCOUNT_NO_USER` (not-found), `ERR_ACCOUNT_LAST_OWNER` (conflict).
 */
export async function removeUser(
  { db, events, sessions }: AuthServices,
  principal: UserPrincipal,
  userId: string,
): Promise<void> {
  const { tenantId } = principal
  await asSystem('remove a user', () =>
    db.transaction().execute(async (trx) => {
      await keepOwner(trx, tenantId, userId)
      const { numDeletedRows } = await trx
        .deleteFrom('users')
        .where('tenant_id', '=', tenantId)
        .where('id', '=', userId)
        .executeTakeFirst()
      if (numDeletedRows === 0n) throw noUser()
      await events.publish(trx, 'account.user-removed', { userId }, { principal })
      await recordAudit(trx, { tenantId, type: 'user.removed', actorId: principal.userId, userId })
    }),
  )
  await sessions.revokeAll({ tenantId, userId }, 'user removed')
}

/** Removes the caller's tenant with all its users. Its name stays taken. */
export async function removeTenant(
  { db, events, sessions }: AuthServices,
  principal: UserPrincipal,
): Promise<void> {
  const { tenantId } = principal
  const users = await asSystem('remove a tenant', () =>
    db.transaction().execute(async (trx) => {
      await lockTenant(trx, tenantId)
      const removed = await trx
        .deleteFrom('users')
        .where('tenant_id', '=', tenantId)
        .where(sql<boolean>`not 'operator' = any (roles)`)
        .returning('id')
        .execute()
      await trx.deleteFrom('tickets').where('tenant_id', '=', tenantId).execute()
      await trx.updateTable('tenants').set({ removed_at: new Date() }).where('id', '=', tenantId).execute()
      for (const { id } of removed)
        await events.publish(trx, 'account.user-removed', { userId: id }, { principal })
      await events.publish(trx, 'account.tenant-removed', {}, { principal })
      await recordAudit(trx, { tenantId, type: 'tenant.removed', actorId: principal.userId })
      return removed
    }),
  )
  for (const { id: userId } of users) await sessions.revokeAll({ tenantId, userId }, 'tenant removed')
}

/**
 * Gives a user of the caller's tenant other roles; their sessions end.
 *
 * @throws QuintetError `ERR_ACCOUNT_NO_USER` (not-found), `ERR_ACCOUNT_LAST_OWNER` (conflict).
 */
export async function setRoles(
  { db, sessions }: AuthServices,
  principal: UserPrincipal,
  userId: string,
  roles: readonly Role[],
): Promise<void> {
  const { tenantId } = principal
  await asSystem('change the roles of a user', () =>
    db.transaction().execute(async (trx) => {
      await (roles.includes('owner') ? lockTenant(trx, tenantId) : keepOwner(trx, tenantId, userId))
      const { numUpdatedRows } = await trx
        .updateTable('users')
        .set({ roles: [...roles] })
        .where('tenant_id', '=', tenantId)
        .where('id', '=', userId)
        .where(sql<boolean>`not 'operator' = any (roles)`)
        .executeTakeFirst()
      if (numUpdatedRows === 0n) throw noUser()
      await recordAudit(trx, { tenantId, type: 'roles.changed', actorId: principal.userId, userId })
    }),
  )
  await sessions.revokeAll({ tenantId, userId }, 'roles changed')
}

/** Ends what a crash has left open, and forgets where users of the tenant came from. */
export const eraser = erasureWorker<AuthServices>('auth', async ({ db, sessions }, { tenantId, userId }) => {
  if (userId !== undefined) await sessions.revokeAll({ tenantId, userId }, 'user removed')
  await asSystem('erase where users came from', () =>
    db
      .updateTable('audit_events')
      .set({ address: null })
      .where('tenant_id', '=', tenantId)
      .$if(userId !== undefined, (query) => query.where('user_id', '=', userId ?? ''))
      .execute(),
  )
})

/** One change of a tenant's owners at a time. */
async function lockTenant(trx: Transaction<AuthTables>, tenantId: string): Promise<void> {
  await trx.selectFrom('tenants').select('id').where('id', '=', tenantId).forUpdate().execute()
}

/** @throws QuintetError `ERR_ACCOUNT_LAST_OWNER` when the tenant would be left without an owner. */
async function keepOwner(trx: Transaction<AuthTables>, tenantId: string, userId: string): Promise<void> {
  await lockTenant(trx, tenantId)
  const owners = await trx
    .selectFrom('users')
    .select('id')
    .where('tenant_id', '=', tenantId)
    .where(sql<boolean>`roles && array['owner', 'operator']`)
    .execute()
  if (owners.some(({ id }) => id !== userId) || !owners.some(({ id }) => id === userId)) return
  throw new QuintetError(
    'A tenant keeps at least one owner. Remove the tenant, or make another user its owner.',
    {
      code: 'ERR_ACCOUNT_LAST_OWNER',
      kind: 'conflict',
    },
  )
}

function noUser(): QuintetError {
  return new QuintetError('There is no such user.', { code: 'ERR_ACCOUNT_NO_USER', kind: 'not-found' })
}
