import type { Secret } from '@quintet/core'
import { verify } from '@node-rs/argon2'
import { changeAccounts } from './account-change.ts'
import { hashPassword } from './passwords.ts'
import { platformTenantId } from './roles.ts'
import type { AuthServices } from './services.ts'

const email = 'operator@platform.example'

/**
 * Makes the operator in the platform's own tenant, where it is not there yet. Another password than before is set, and ends
 * their sessions.
 */
export async function ensureOperator(
  services: Pick<AuthServices, 'db' | 'sessions'>,
  password: Secret,
): Promise<void> {
  const hash = await hashPassword(password.reveal())
  await changeAccounts(services, platformTenantId, 'make the operator', async ({ trx, endSessions }) => {
    const { id } = await trx
      .insertInto('users')
      .values({ tenant_id: platformTenantId, email, name: 'Operator', roles: ['operator'] })
      .onConflict((conflict) => conflict.columns(['tenant_id', 'email']).doUpdateSet({ roles: ['operator'] }))
      .returning('id')
      .executeTakeFirstOrThrow()
    const known = await trx
      .selectFrom('passwords')
      .select('hash')
      .where('user_id', '=', id)
      .executeTakeFirst()
    if (known && (await verify(known.hash, password.reveal()))) return
    await trx
      .insertInto('passwords')
      .values({ user_id: id, hash })
      .onConflict((conflict) => conflict.column('user_id').doUpdateSet({ hash }))
      .execute()
    await endSessions([id], { reason: 'password changed' })
  })
}
