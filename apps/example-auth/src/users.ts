import { QuintetError, uuidv7 } from '@quintet/core'
import { defineKeyset, type KeysetPage, type KeysetRequest } from '@quintet/rls/data'
import type { Kysely, Selectable, Transaction } from 'kysely'
import type { Role } from './roles.ts'
import type { AuthTables } from './schema.ts'

export type User = Selectable<AuthTables['users']>

export interface NewUser {
  readonly email: string
  readonly name: string
  readonly passwordHash: string
  readonly roles: readonly Role[]
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
    })
    .onConflict((conflict) => conflict.columns(['tenant_id', 'email']).doNothing())
    .returningAll()
    .executeTakeFirst()
  if (created) {
    await trx.insertInto('passwords').values({ user_id: created.id, hash: user.passwordHash }).execute()
    return created
  }
  throw new QuintetError(`The tenant has a user ${user.email} already.`, {
    code: 'ERR_ACCOUNT_EMAIL_TAKEN',
    kind: 'conflict',
  })
}

/** The user that signs in with a tenant's name and an address. To be asked as the system, before anybody is known. */
export async function findForSignIn(
  db: Kysely<AuthTables>,
  tenant: string,
  email: string,
): Promise<(User & { readonly password_hash: string }) | undefined> {
  return db
    .selectFrom('users')
    .innerJoin('tenants', 'tenants.id', 'users.tenant_id')
    .innerJoin('passwords', 'passwords.user_id', 'users.id')
    .selectAll('users')
    .select('passwords.hash as password_hash')
    .where('tenants.slug', '=', tenant)
    .where('users.email', '=', email)
    .executeTakeFirst()
}

const oldestFirst = defineKeyset([{ column: 'id', type: 'uuid' }])

/** A page of the users of the caller's tenant, oldest first. */
export function listUsers(db: Kysely<AuthTables>, page: KeysetRequest): Promise<KeysetPage<User>> {
  return oldestFirst.page(db.selectFrom('users').selectAll(), page)
}

/** The hash of a user's password; to be asked as the system. */
export async function passwordOf(db: Kysely<AuthTables>, userId: string): Promise<string | undefined> {
  const found = await db
    .selectFrom('passwords')
    .select('hash')
    .where('user_id', '=', userId)
    .executeTakeFirst()
  return found?.hash
}

/** Sets the password of a user; to be done as the system. */
export async function setPassword(db: Kysely<AuthTables>, userId: string, hash: string): Promise<void> {
  await db.updateTable('passwords').set({ hash }).where('user_id', '=', userId).execute()
}

/** The tenant with a name, also one without users. To be asked as the system. */
export async function findTenant(db: Kysely<AuthTables>, slug: string): Promise<string | undefined> {
  const found = await db.selectFrom('tenants').select('id').where('slug', '=', slug).executeTakeFirst()
  return found?.id
}

export async function getUser(db: Kysely<AuthTables>, id: string): Promise<User> {
  const user = await db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst()
  if (user) return user
  throw new QuintetError('There is no such user.', { code: 'ERR_ACCOUNT_NO_USER', kind: 'not-found' })
}

/** What a user may do now; null when the user is gone. */
export async function rightsOf(
  db: Kysely<AuthTables>,
  user: { readonly tenantId: string; readonly userId: string },
): Promise<{ readonly roles: readonly string[] } | null> {
  const found = await db
    .selectFrom('users')
    .select('roles')
    .where('tenant_id', '=', user.tenantId)
    .where('id', '=', user.userId)
    .executeTakeFirst()
  return found ?? null
}
