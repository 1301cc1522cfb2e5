import { QuintetError, type Route, withServices } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { sql, type Transaction } from 'kysely'
import { z } from 'zod'
import { changeAccounts } from './account-change.ts'
import { TicketToken } from './account-schema.ts'
import { recordAudit } from './audit.ts'
import type { AuthTables } from './schema.ts'
import type { AuthServices } from './services.ts'
import { findTicket, issueTicket, redeemTicket } from './tickets.ts'
import type { User } from './users.ts'

const { route } = withServices<AuthServices>()

/**
 * Sends a link to the address of a user, by which they show that they read its mail. Where no mail is sent, or the address
 * is verified, nothing is done.
 */
export async function sendVerification(
  services: AuthServices,
  { id: userId, tenant_id: tenantId, email, email_verified_at }: User,
): Promise<void> {
  const { mailer } = services
  if (mailer === undefined || email_verified_at !== null) return
  const token = await changeAccounts(services, tenantId, 'verify an address', ({ trx }) =>
    issueTicket(trx, { kind: 'email-verification', tenantId, userId, email }),
  )
  await mailer.send({ to: email, subject: 'Your address', text: `Confirm your address: ${token}` })
}

/** Notes that a user has read what was sent to their address. */
export async function markVerified(trx: Transaction<AuthTables>, userId: string): Promise<void> {
  await trx
    .updateTable('users')
    .set({ email_verified_at: sql<Date>`coalesce(email_verified_at, now())` })
    .where('id', '=', userId)
    .execute()
}

/** @throws QuintetError `ERR_ACCOUNT_EMAIL_NOT_VERIFIED` (forbidden) where mail is sent. */
export async function assertVerified(
  { mailer }: AuthServices,
  trx: Transaction<AuthTables>,
  userId: string,
): Promise<void> {
  if (mailer === undefined) return
  const user = await trx
    .selectFrom('users')
    .select('email_verified_at')
    .where('id', '=', userId)
    .executeTakeFirst()
  if (user?.email_verified_at) return
  throw new QuintetError('Confirm your address first, by the link that was sent to it.', {
    code: 'ERR_ACCOUNT_EMAIL_NOT_VERIFIED',
    kind: 'forbidden',
  })
}

const completeVerification = route({
  method: 'POST',
  pattern: '/email-verifications/complete',
  access: 'public',
  description: 'Confirms the address of a user with the token that was sent to it.',
  body: z.strictObject({ token: TicketToken }),
  response: z.object({}),
  handler: async (_, { body, services, client }) => {
    const { tenant_id: tenantId } = await asSystem('look up a verification', () =>
      findTicket(services.db, 'email-verification', body.token),
    )
    await changeAccounts(services, tenantId, 'verify an address', async ({ trx }) => {
      const { user_id } = await redeemTicket(trx, 'email-verification', body.token)
      const actorId = user_id ?? ''
      await markVerified(trx, actorId)
      await recordAudit(trx, { tenantId, type: 'email.verified', actorId, address: client.address })
    })
    return {}
  },
})

export const verificationRoutes: readonly Route[] = [completeVerification]
