import type { Secret } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import type { Kysely } from 'kysely'
import { hashPassword } from './passwords.ts'
import type { AuthTables } from './schema.ts'

/** Makes the platform's own tenant and its operator, where they are not there yet. The password is set anew at every start. */
export async function ensureOperator(db: Kysely<AuthTables>, password: Secret): Promise<void> {
  const passwordHash = await hashPassword(password.reveal())
  await asSystem('make the operator', () =>
    db.transaction().execute(async (trx) => {
      const tenant = await trx
        .insertInto('tenants')
        .values({ slug: 'platform' })
        .onConflict((conflict) => conflict.column('slug').doUpdateSet({ slug: 'platform' }))
        .returning('id')
        .executeTakeFirstOrThrow()
      await trx
        .insertInto('users')
        .values({
          tenant_id: tenant.id,
          email: 'operator@platform.example',
          name: 'Operator',
          password_hash: passwordHash,
          roles: ['operator'],
        })
        .onConflict((conflict) =>
          conflict.columns(['tenant_id', 'email']).doUpdateSet({ password_hash: passwordHash }),
        )
        .execute()
    }),
  )
}
