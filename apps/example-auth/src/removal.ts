import { QuintetError, type UserPrincipal } from '@quintet/core'
import { erasureWorker } from '@quintet/example-platform/erasure'
import { exportParts } from '@quintet/example-platform/events'
import { asSystem } from '@quintet/rls'
import { sql, type Transaction } from 'kysely'
import { assertCaller, changeAccounts } from './account-change.ts'
import { recordAudit } from './audit.ts'
import { deleteMachines } from './machines.ts'
import type { Role } from './roles.ts'
import type { AuthTables } from './schema.ts'
import type { AuthServices } from './services.ts'

/**
 * Removes a user from the caller's tenant: the caller themselves, who has just confirmed their password, or by an owner. The
 * other apps hear of it and erase what they keep.
 *
 * @throws QuintetError `ERR_ACCOUNT_NO_USER` (not-found), `ERR_ACCOUNT_LAST_OWNER` (conflict).
 */
export async function removeUser(
  services: AuthServices,
  principal: UserPrincipal,
  userId: string,
  confirmed?: { readonly epoch: number },
): Promise<void> {
  const { tenantId } = principal
  await changeAccounts(services, tenantId, 'remove a user', async ({ trx, endSessions }) => {
    await assertCaller(trx, principal, confirmed ?? { role: 'owner' })
    await keepOwner(trx, tenantId, userId)
    const added = await deleteMachines(trx, tenantId, { addedBy: userId })
    const removed = await trx
      .deleteFrom('users')
      .where('tenant_id', '=', tenantId)
      .where('id', '=', userId)
      .returning('email')
      .executeTakeFirst()
    if (removed === undefined) throw noUser()
    await forgetAddress(trx, tenantId, removed.email)
    await deleteTenantExports(trx, tenantId)
    await services.events.publish(trx, 'account.user-removed', { userId }, { principal })
    await recordAudit(trx, { tenantId, type: 'user.removed', actorId: principal.userId, userId })
    await endSessions([userId, ...added], { reason: 'user removed' })
  })
}

/** Removes the caller's tenant with all its users. Its name stays taken. */
export async function removeTenant(
  services: AuthServices,
  principal: UserPrincipal,
  epoch: number,
): Promise<void> {
  const { tenantId } = principal
  await changeAccounts(services, tenantId, 'remove a tenant', async ({ trx, endSessions }) => {
    await assertCaller(trx, principal, { role: 'owner', epoch })
    const added = await deleteMachines(trx, tenantId)
    const removed = await trx
      .deleteFrom('users')
      .where('tenant_id', '=', tenantId)
      .where(sql<boolean>`not 'operator' = any (roles)`)
      .returning('id')
      .execute()
    const userIds = removed.map(({ id }) => id)
    await trx.deleteFrom('tickets').where('tenant_id', '=', tenantId).execute()
    await trx.updateTable('tenants').set({ removed_at: new Date() }).where('id', '=', tenantId).execute()
    for (const userId of userIds)
      await services.events.publish(trx, 'account.user-removed', { userId }, { principal })
    await services.events.publish(trx, 'account.tenant-removed', {}, { principal })
    await recordAudit(trx, { tenantId, type: 'tenant.removed', actorId: principal.userId })
    await endSessions([...userIds, ...added], { reason: 'tenant removed' })
  })
}

/**
 * Gives a user of the caller's tenant other roles; their sessions end, and with the role of an owner the invitations that they
 * have sent, the machines that they have added and the exports of the tenant that they have asked for. The other apps hear of it.
 *
 * @throws QuintetError `ERR_ACCOUNT_NO_USER` (not-found), `ERR_ACCOUNT_LAST_OWNER` (conflict).
 */
export async function setRoles(
  services: AuthServices,
  principal: UserPrincipal,
  userId: string,
  roles: readonly Role[],
): Promise<void> {
  const { tenantId } = principal
  await changeAccounts(services, tenantId, 'change the roles of a user', async ({ trx, endSessions }) => {
    await assertCaller(trx, principal, { role: 'owner' })
    const ended = [userId]
    if (!roles.includes('owner')) {
      await keepOwner(trx, tenantId, userId)
      await trx
        .deleteFrom('tickets')
        .where('tenant_id', '=', tenantId)
        .where('invited_by', '=', userId)
        .execute()
      await deleteTenantExports(trx, tenantId, userId)
      ended.push(...(await deleteMachines(trx, tenantId, { addedBy: userId })))
    }
    const { numUpdatedRows } = await trx
      .updateTable('users')
      .set({ roles: [...roles] })
      .where('tenant_id', '=', tenantId)
      .where('id', '=', userId)
      .where(sql<boolean>`not 'operator' = any (roles)`)
      .executeTakeFirst()
    if (numUpdatedRows === 0n) throw noUser()
    const told = { userId, roles: [...roles] }
    await services.events.publish(trx, 'account.roles-changed', told, { principal })
    await recordAudit(trx, { tenantId, type: 'roles.changed', actorId: principal.userId, userId })
    await endSessions(ended, { reason: 'roles changed' })
  })
}

/** Forgets the sessions of who is removed, parts of exports on their way, and where users of the tenant came from. */
export const eraser = erasureWorker<AuthServices>('auth', async (services, subject) => {
  const { db, sessions, jobs } = services
  const { tenantId, userId } = subject
  if (userId !== undefined) await sessions.erase({ tenantId, userId })
  // Any part may tell of any user of the tenant.
  const { pending } = await jobs.erase(exportParts, { tenantId })
  if (pending > 0) throw new Error(`${pending} parts of exports are still on their way`)
  await asSystem('erase where users came from', () =>
    db
      .updateTable('audit_events')
      .set({ address: null, ...(userId === undefined && { email: null }) })
      .where('tenant_id', '=', tenantId)
      .$if(userId !== undefined, (query) => query.where('user_id', '=', userId ?? ''))
      .execute(),
  )
})

/** Deletes the exports of a whole tenant, of all that have asked for one or of one: they tell of its users. */
async function deleteTenantExports(
  trx: Transaction<AuthTables>,
  tenantId: string,
  requestedBy?: string,
): Promise<void> {
  await trx
    .deleteFrom('exports')
    .where('tenant_id', '=', tenantId)
    .where('user_id', 'is', null)
    .$if(requestedBy !== undefined, (query) => query.where('requested_by', '=', requestedBy ?? ''))
    .execute()
}

/** Deletes what was sent to an address, and that it was. */
async function forgetAddress(trx: Transaction<AuthTables>, tenantId: string, email: string): Promise<void> {
  await trx.deleteFrom('tickets').where('tenant_id', '=', tenantId).where('email', '=', email).execute()
  await trx
    .updateTable('audit_events')
    .set({ email: null })
    .where('tenant_id', '=', tenantId)
    .where('email', '=', email)
    .execute()
}

/** @throws QuintetError `ERR_ACCOUNT_LAST_OWNER` when the tenant would be left without an owner. */
async function keepOwner(trx: Transaction<AuthTables>, tenantId: string, userId: string): Promise<void> {
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
