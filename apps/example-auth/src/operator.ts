import type { Secret } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import type { Kysely } from 'kysely'
import { hashPassword } from './passwords.ts'
import { platformTenantId } from './roles.ts'
import type { AuthTables } from './schema.ts'

/** Makes the operator in the platform's own tenant, where it is not there yet. The password is set anew at every start. */
export async function ensureOperator(db: Kysely<AuthTables>, password: Secret): Promise<void> {
  const hash = await hashPassword(password.reveal())
  await asSystem('make the operator', () =>
    db.transaction().execute(async (trx) => {
      const { id } = await trx
        .insertInto('users')
        .values({
          tenant_id: platformTenantId,
          email: 'operator@platform.example',
          name: 'Operator',
          roles: ['operator'],
        })
        .onConflict((conflict) =>
          conflict.columns(['tenant_id', 'email']).doUpdateSet({ roles: ['operator'] }),
        )
        .returning('id')
        .executeTakeFirstOrThrow()
      await trx
        .insertInto('passwords')
        .values({ user_id: id, hash })
        .onConflict((conflict) => conflict.column('user_id').doUpdateSet({ hash }))
        .execute()
    }),
  )
}
