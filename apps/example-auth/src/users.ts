import type { SessionRef } from '@quintet/auth'
import { QuintetError, systemPrincipal, uuidv7 } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { defineKeyset, type KeysetPage, type KeysetRequest, type PageableQuery } from '@quintet/rls/data'
import { sql, type Kysely, type Selectable, type Transaction } from 'kysely'
import type { Role } from './roles.ts'
import type { AuthTables } from './schema.ts'
import { rolesAt } from './second-factor.ts'
import type { AuthServices } from './services.ts'

export type User = Selectable<AuthTables['users']>

export interface NewUser {
  readonly email: string
  readonly name: string
  readonly passwordHash: string
  readonly roles: readonly Role[]
  /** The address has shown that it reads mail. */
  readonly isVerified?: boolean
}

/** @throws QuintetError `ERR_ACCOUNT_TENANT_TAKEN` (conflict). */
export async function createTenant(trx: Transaction<AuthTables>, slug: string): Promise<string> {
  const tenant = await trx
    .insertInto('tenants')
    .values({ slug })
    .onConflict((conflict) => conflict.column('slug').doNothing())
    .returning('id')
    .executeTakeFirst()
  if (tenant) return tenant.id
  throw new QuintetError(`There is a tenant called ${slug} already.`, {
    code: 'ERR_ACCOUNT_TENANT_TAKEN',
    kind: 'conflict',
  })
}

/** @throws QuintetError `ERR_ACCOUNT_EMAIL_TAKEN` (conflict) when the tenant has a user with this address. */
export async function createUser(
  trx: Transaction<AuthTables>,
  tenantId: string,
  user: NewUser,
): Promise<User> {
  const created = await trx
    .insertInto('users')
    .values({
      id: uuidv7(),
      tenant_id: tenantId,
      email: user.email,
      name: user.name,
      roles: [...user.roles],
      ...(user.isVerified === true && { email_verified_at: new Date() }),
    })
    .onConflict((conflict) => conflict.columns(['tenant_id', 'email']).doNothing())
    .returningAll()
    .executeTakeFirst()
  if (created) {
    await trx.insertInto('passwords').values({ user_id: created.id, hash: user.passwordHash }).execute()
    return created
  }
  throw emailTaken(user.email)
}

/** Tells the other apps of a user who has just been made. */
export async function tellAdded(
  { events }: Pick<AuthServices, 'events'>,
  trx: Transaction<AuthTables>,
  { id: userId, tenant_id: tenantId }: User,
): Promise<void> {
  await events.publish(
    trx,
    'account.user-added',
    { userId },
    { principal: systemPrincipal('auth', tenantId) },
  )
}

/** @throws QuintetError `ERR_ACCOUNT_EMAIL_TAKEN` (conflict) when the tenant has a user with this address. */
export async function assertFreeEmail(
  trx: Transaction<AuthTables>,
  tenantId: string,
  email: string,
): Promise<void> {
  const taken = await trx
    .selectFrom('users')
    .select('id')
    .where('tenant_id', '=', tenantId)
    .where('email', '=', email)
    .executeTakeFirst()
  if (taken) throw emailTaken(email)
}

function emailTaken(email: string): QuintetError {
  return new QuintetError(`The tenant has a user ${email} already.`, {
    code: 'ERR_ACCOUNT_EMAIL_TAKEN',
    kind: 'conflict',
  })
}

/** What a user signs in with, and their epoch at the same moment: sessions are made for that alone. */
export interface Credentials {
  readonly user: User
  readonly passwordHash: string
  readonly epoch: number
}

/** Of the user that signs in with a tenant's name and an address. To be asked as the system, before anybody is known. */
export async function findForSignIn(
  db: Kysely<AuthTables>,
  slug: string,
  email: string,
): Promise<Credentials | undefined> {
  const query = selectCredentials(db).where('tenants.slug', '=', slug).where('users.email', '=', email)
  return toCredentials(await query.executeTakeFirst())
}

/** Of the caller, who is to prove anew who they are; to be asked as the system. */
export async function findCredentials(
  db: Kysely<AuthTables>,
  { tenantId, userId }: { readonly tenantId: string; readonly userId: string },
): Promise<Credentials | undefined> {
  const query = selectCredentials(db).where('users.tenant_id', '=', tenantId).where('users.id', '=', userId)
  return toCredentials(await query.executeTakeFirst())
}

function selectCredentials(db: Kysely<AuthTables>) {
  return db
    .selectFrom('users')
    .innerJoin('tenants', 'tenants.id', 'users.tenant_id')
    .innerJoin('passwords', 'passwords.user_id', 'users.id')
    .selectAll('users')
    .select(['passwords.hash as password_hash', epochOf('users').as('epoch')])
    .where('tenants.removed_at', 'is', null)
}

/** How often all sessions of the subject of a row were ended. */
export function epochOf(table: string) {
  const row = sql.table(table)
  return sql<number>`coalesce((select e.epoch from auth_session_epochs e
    where e.tenant_id = ${row}.tenant_id::text and e.user_id = ${row}.id::text), 0)`
}

function toCredentials(
  found: (User & { readonly password_hash: string; readonly epoch: number }) | undefined,
): Credentials | undefined {
  if (found === undefined) return undefined
  const { password_hash: passwordHash, epoch, ...user } = found
  return { user, passwordHash, epoch }
}

const oldestFirst = defineKeyset([{ column: 'id', type: 'uuid' }])

/** A page of users, oldest first. */
export function listUsers(users: PageableQuery<User>, page: KeysetRequest): Promise<KeysetPage<User>> {
  return oldestFirst.page(users, page)
}

/** Sets the password of a user; links for a new one that are on their way end. To be done as the system. */
export async function setPassword(trx: Transaction<AuthTables>, userId: string, hash: string): Promise<void> {
  await trx.updateTable('passwords').set({ hash }).where('user_id', '=', userId).execute()
  await trx.deleteFrom('tickets').where('user_id', '=', userId).where('kind', '=', 'password-reset').execute()
}

/** The tenant with a name that was not removed. To be asked as the system. */
export async function findTenant(db: Kysely<AuthTables>, slug: string): Promise<string | undefined> {
  const living = db.selectFrom('tenants').select('id').where('removed_at', 'is', null)
  return (await living.where('slug', '=', slug).executeTakeFirst())?.id
}

export async function getUser(db: Kysely<AuthTables>, id: string): Promise<User> {
  const user = await db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst()
  if (user) return user
  throw new QuintetError('There is no such user.', { code: 'ERR_ACCOUNT_NO_USER', kind: 'not-found' })
}

/** What a user may do now, in a session; null when the user or the tenant is gone. */
export async function rightsOf(
  services: Pick<AuthServices, 'db' | 'settings'>,
  session: SessionRef,
): Promise<{ readonly roles: readonly string[] } | null> {
  const found = await asSystem('read the rights of a user at refresh', () =>
    services.db
      .selectFrom('users')
      .innerJoin('tenants', 'tenants.id', 'tenant_id')
      .select(['users.id', 'roles'])
      .select(
        sql<number>`coalesce((select aal from auth_sessions where id = ${session.sessionId}), 1)`.as('aal'),
      )
      .where('removed_at', 'is', null)
      .where('tenant_id', '=', session.tenantId)
      .where('users.id', '=', session.userId)
      .executeTakeFirst(),
  )
  return found === undefined ? null : { roles: await rolesAt(services, found, found.aal) }
}
