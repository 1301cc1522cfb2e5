import { hash } from 'node:crypto'
import { QuintetError, type ClientInfo, type Route, withServices } from '@quintet/core'
import { networkOf } from '@quintet/core/http'
import { asSystem } from '@quintet/rls'
import { z } from 'zod'
import { changeAccounts } from './account-change.ts'
import { Email, Name, Password, Slug, TicketToken } from './account-schema.ts'
import { recordAudit } from './audit.ts'
import { markVerified } from './email-verification.ts'
import { assertStrong } from './password-policy.ts'
import { setPassword } from './users.ts'
import { deviceOf, keyOf, SignedIn, startSession } from './session-routes.ts'
import type { AuthServices } from './services.ts'
import { findTicket, issueTicket, redeemTicket } from './tickets.ts'
import { createUser, findForSignIn, tellAdded } from './users.ts'
import { tokenResponse } from '@quintet/auth'

const { route } = withServices<AuthServices>()

const acceptInvitation = route({
  method: 'POST',
  pattern: '/invitations/accept',
  access: 'public',
  description: 'Makes the user who was invited, with a name and password of their own, and signs them in.',
  body: z.strictObject({ token: TicketToken, name: Name, password: Password }),
  response: SignedIn,
  handler: async (request, { body, services, client, signal }) => {
    const { db, passwords } = services
    const key = await keyOf(request, services)
    const { tenant_id: tenantId, email } = await asSystem('look up an invitation', () =>
      findTicket(db, 'invitation', body.token),
    )
    await assertStrong(services, { email, password: body.password })
    const passwordHash = await passwords.hash(body.password, { client, signal })
    const user = await changeAccounts(services, tenantId, 'accept an invitation', async ({ trx }) => {
      const { roles } = await redeemTicket(trx, 'invitation', body.token)
      const isVerified = services.mailer !== undefined
      const given = { email, name: body.name, passwordHash, roles, isVerified }
      const made = await createUser(trx, tenantId, given)
      await tellAdded(services, trx, made)
      const { address } = client
      await recordAudit(trx, { tenantId, type: 'invitation.accepted', actorId: made.id, address })
      return made
    })
    return tokenResponse(
      await startSession(services, { user, epoch: 0 }, { ...key, ...deviceOf(request, client) }),
    )
  },
})

/** The answer is the same whoever asks, and comes before anything is looked up. */
const requestReset = route({
  method: 'POST',
  pattern: '/password-resets',
  access: 'public',
  description: 'Sends a link for a new password, where the tenant has such a user.',
  body: z.strictObject({ tenant: Slug, email: Email }),
  response: z.object({}),
  handler: async (_, { body: { tenant, email }, services, client, logger }) => {
    const { db, mailer } = services
    if (mailer === undefined)
      throw new QuintetError('This platform sends no mail. Ask an owner of the tenant.', {
        code: 'ERR_ACCOUNT_NO_MAIL',
        kind: 'not-found',
      })
    // Redis is to hold no address of a person.
    const account = hash('sha256', `${tenant}/${email}`, 'base64url')
    await admitReset(services, account, client)
    const send = async (): Promise<void> => {
      const mails = await services.limiter.consume(`reset:${account}`, { limit: 20, period: '15m' })
      if (!mails.allowed) return
      const found = await asSystem('look up who resets', () => findForSignIn(db, tenant, email))
      if (found === undefined) return
      const { tenant_id: tenantId, id: userId } = found.user
      const token = await changeAccounts(services, tenantId, 'ask for a new password', async ({ trx }) => {
        const { address } = client
        await recordAudit(trx, { tenantId, type: 'password.reset-requested', userId, address })
        return await issueTicket(trx, { kind: 'password-reset', tenantId, userId, email })
      })
      await mailer.send({ to: email, subject: 'Your new password', text: `Your link: ${token}` })
    }
    void send().catch((error: unknown) => logger.error({ err: error }, 'a reset could not be sent'))
    return {}
  },
})

const completeReset = route({
  method: 'POST',
  pattern: '/password-resets/complete',
  access: 'public',
  description: 'Sets a new password with the token that was sent. All sessions of the user end.',
  body: z.strictObject({ token: TicketToken, password: Password }),
  response: z.object({}),
  handler: async (_, { body, services, client, signal }) => {
    const { db, passwords } = services
    const { tenant_id: tenantId, email } = await asSystem('look up a reset', () =>
      findTicket(db, 'password-reset', body.token),
    )
    await assertStrong(services, { email, password: body.password })
    const passwordHash = await passwords.hash(body.password, { client, signal })
    await changeAccounts(services, tenantId, 'reset a password', async ({ trx, endSessions }) => {
      const { user_id } = await redeemTicket(trx, 'password-reset', body.token)
      const userId = user_id ?? ''
      await setPassword(trx, userId, passwordHash)
      await markVerified(trx, userId)
      await recordAudit(trx, { tenantId, type: 'password.reset', actorId: userId, address: client.address })
      await endSessions([userId], { reason: 'password reset' })
    })
    return {}
  },
})

/**
 * What one network asks for, and for one account, is held to a pace: budgets of their own, beside those of sign-ins. Strangers
 * cannot use them up for the networks of the account; how much mail goes to it is limited apart, and shows in no answer.
 */
async function admitReset(
  { limiter }: AuthServices,
  account: string,
  { address }: ClientInfo,
): Promise<void> {
  const network = address === null ? 'unknown' : networkOf(address)
  for (const [key, limit] of [
    [`reset:${network}`, 60],
    [`reset:${account}:${network}`, 5],
  ] as const) {
    const pace = await limiter.consume(key, { limit, period: '15m' })
    if (pace.allowed) continue
    throw new QuintetError('Too many requests for a new password. Try again later.', {
      code: 'ERR_ACCOUNT_TOO_MANY_RESETS',
      kind: 'rate-limited',
      retryAfter: pace.retryAfter,
    })
  }
}

export const accountRoutes: readonly Route[] = [acceptInvitation, requestReset, completeReset]
