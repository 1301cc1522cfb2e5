import { hash, randomBytes } from 'node:crypto'
import { QuintetError, uuidv7, type UserPrincipal } from '@quintet/core'
import { safeEqual } from '@quintet/core/kit'
import type { Scope } from '@quintet/example-platform/scopes'
import { asSystem } from '@quintet/rls'
import { sql, type Kysely, type Selectable, type Transaction } from 'kysely'
import { assertCaller, changeAccounts } from './account-change.ts'
import { recordAudit } from './audit.ts'
import type { AuthTables } from './schema.ts'
import type { AuthServices } from './services.ts'
import { epochOf } from './users.ts'

export type Machine = Selectable<AuthTables['machines']>

/** By which scanners for leaked secrets know a key. */
const keyPrefix = 'qmk_'
const mostMachines = 100
/** The id of no machine: what is none at all is looked up too. */
const none = '00000000-0000-0000-0000-000000000000'

/** Adds a machine to the caller's tenant. Its key is told this once. @throws QuintetError `ERR_ACCOUNT_TOO_MANY_MACHINES` */
export async function addMachine(
  services: AuthServices,
  principal: UserPrincipal,
  given: { readonly name: string; readonly scopes: readonly Scope[]; readonly days: number },
): Promise<{ readonly id: string; readonly key: string }> {
  const { tenantId, userId } = principal
  const [id, key] = [uuidv7(), keyPrefix + randomBytes(32).toString('base64url')]
  await changeAccounts(services, tenantId, 'add a machine', async ({ trx }) => {
    await assertCaller(trx, principal, { role: 'owner' })
    if ((await listMachines(trx, tenantId)).length >= mostMachines)
      throw new QuintetError(`A tenant has at most ${mostMachines} machines. Remove some.`, {
        code: 'ERR_ACCOUNT_TOO_MANY_MACHINES',
        kind: 'conflict',
      })
    await trx
      .insertInto('machines')
      .values({
        id,
        tenant_id: tenantId,
        name: given.name,
        scopes: [...given.scopes],
        key_hash: hashOf(key),
        key_prefix: key.slice(0, keyPrefix.length + 6),
        added_by: userId,
        expires_at: sql<Date>`now() + make_interval(days => ${given.days})`,
      })
      .execute()
    await recordAudit(trx, { tenantId, type: 'machine.added', actorId: userId })
  })
  return { id, key }
}

/** The machines of a tenant, oldest first; to be asked as the system. */
export function listMachines(db: Kysely<AuthTables>, tenantId: string): Promise<readonly Machine[]> {
  return db.selectFrom('machines').selectAll().where('tenant_id', '=', tenantId).orderBy('id').execute()
}

/** Removes a machine; its tokens end at once, in all apps. @throws QuintetError `ERR_ACCOUNT_NO_MACHINE` (not-found) */
export async function removeMachine(
  services: AuthServices,
  principal: UserPrincipal,
  id: string,
): Promise<void> {
  const { tenantId, userId } = principal
  await changeAccounts(services, tenantId, 'remove a machine', async ({ trx, endSessions }) => {
    await assertCaller(trx, principal, { role: 'owner' })
    const [removed] = await deleteMachines(trx, tenantId, { id })
    if (removed === undefined)
      throw new QuintetError('There is no such machine.', {
        code: 'ERR_ACCOUNT_NO_MACHINE',
        kind: 'not-found',
      })
    await recordAudit(trx, { tenantId, type: 'machine.removed', actorId: userId })
    await endSessions([removed], { reason: 'machine removed' })
  })
}

/** Deletes one machine, those that a user has added, or all of a tenant. Resolves to their ids, whose sessions are to end. */
export async function deleteMachines(
  trx: Transaction<AuthTables>,
  tenantId: string,
  which: { readonly id?: string; readonly addedBy?: string } = {},
): Promise<readonly string[]> {
  const { id, addedBy } = which
  const gone = await trx
    .deleteFrom('machines')
    .where('tenant_id', '=', tenantId)
    .$if(id !== undefined, (query) => query.where('id', '=', id ?? ''))
    .$if(addedBy !== undefined, (query) => query.where('added_by', '=', addedBy ?? ''))
    .returning('id')
    .execute()
  return gone.map((each) => each.id)
}

/** The machine that a key is of, and its epoch at the same moment; undefined for whatever is no key of its that is good now. */
export async function findMachine(
  db: Kysely<AuthTables>,
  id: string,
  key: string,
): Promise<(Machine & { readonly epoch: number }) | undefined> {
  const found = await asSystem('look up a machine', () =>
    db
      .selectFrom('machines')
      .innerJoin('tenants', 'tenants.id', 'tenant_id')
      .selectAll('machines')
      .select(epochOf('machines').as('epoch'))
      .where('machines.id', '=', /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/.test(id) ? id : none)
      .where('tenants.removed_at', 'is', null)
      .where('expires_at', '>', sql<Date>`now()`)
      .executeTakeFirst(),
  )
  const isRight = safeEqual(hashOf(key), found?.key_hash ?? Buffer.alloc(32))
  return isRight ? found : undefined
}

/** Notes the use of a key. */
export async function markUsed(db: Kysely<AuthTables>, { id }: Machine): Promise<void> {
  await asSystem('note the use of a key', () =>
    db.updateTable('machines').set({ last_used_at: new Date() }).where('id', '=', id).execute(),
  )
}

function hashOf(key: string): Buffer {
  return hash('sha256', key, 'buffer')
}
