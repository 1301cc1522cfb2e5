import { QuintetError, service, withServices } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { z } from 'zod'
import { assertCaller, changeAccounts } from './account-change.ts'
import { Email, UserView, viewUser } from './account-schema.ts'
import { listAudit, recordAudit } from './audit.ts'
import { assertVerified } from './email-verification.ts'
import { removeUser, setRoles } from './removal.ts'
import type { AuthServices } from './services.ts'
import { issueTicket, listInvitations, withdrawInvitation } from './tickets.ts'
import { assertFreeEmail, listUsers } from './users.ts'

const { procedure } = withServices<AuthServices>()

const Page = z.strictObject({
  limit: z.int().min(1).max(500).default(100),
  /** The `next` of the page before. */
  after: z.string().max(500).optional(),
})
const Roles = z
  .array(z.enum(['owner', 'member']))
  .min(1)
  .max(2)
const Done = z.object({})

/** What owners do with the users of their tenant. */
export const members = service('members', {
  invite: procedure(
    {
      access: { roles: ['owner'] },
      description: 'Invites somebody to the tenant, who chooses their own name and password.',
      input: z.strictObject({ email: Email, roles: Roles.default(['member']) }),
      /** Where no mail is sent, the token is handed over by the inviter. */
      output: z.object({ token: z.string().optional() }),
    },
    async ({ input: { email, roles }, services, principal }) => {
      const { limiter, mailer } = services
      const { tenantId, userId } = principal
      const pace = await limiter.consume(`invitations:${tenantId}`, { limit: 100, period: '1h' })
      if (!pace.allowed)
        throw new QuintetError('Too many invitations. Try again later.', {
          code: 'ERR_ACCOUNT_TOO_MANY_INVITATIONS',
          kind: 'rate-limited',
          retryAfter: pace.retryAfter,
        })
      const token = await changeAccounts(services, tenantId, 'invite a user', async ({ trx }) => {
        await assertCaller(trx, principal, { role: 'owner' })
        await assertVerified(services, trx, userId)
        await assertFreeEmail(trx, tenantId, email)
        await recordAudit(trx, { tenantId, type: 'invitation.sent', actorId: userId, email })
        return await issueTicket(trx, { kind: 'invitation', tenantId, email, roles, invitedBy: userId })
      })
      if (mailer === undefined) return { token }
      await mailer.send({ to: email, subject: 'You are invited', text: `Your invitation: ${token}` })
      return {}
    },
  ),

  invitations: procedure(
    {
      access: { roles: ['owner'] },
      description: 'Lists the invitations to the tenant that can be accepted, by address.',
      input: Page,
      output: z.object({
        items: z.array(
          z.object({
            email: z.string(),
            roles: z.array(z.string()),
            invitedBy: z.uuid().nullable(),
            expiresAt: z.iso.datetime(),
          }),
        ),
        next: z.string().nullable(),
      }),
    },
    async ({ input, services, principal }) => {
      const { items, next } = await asSystem('list invitations', () =>
        listInvitations(services.db, principal.tenantId, input),
      )
      return {
        items: items.map(({ email, roles, invited_by, expires_at }) => ({
          email,
          roles,
          invitedBy: invited_by,
          expiresAt: expires_at.toISOString(),
        })),
        next,
      }
    },
  ),

  withdrawInvitation: procedure(
    {
      access: { roles: ['owner'] },
      freshness: 'strict',
      description: 'Takes back an invitation that was not accepted yet.',
      input: z.strictObject({ email: Email }),
      output: Done,
    },
    async ({ input: { email }, services, principal }) => {
      const { tenantId, userId } = principal
      await changeAccounts(services, tenantId, 'withdraw an invitation', async ({ trx }) => {
        await assertCaller(trx, principal, { role: 'owner' })
        await withdrawInvitation(trx, tenantId, email)
        await recordAudit(trx, { tenantId, type: 'invitation.withdrawn', actorId: userId, email })
      })
      return {}
    },
  ),

  list: procedure(
    {
      access: { roles: ['owner'] },
      description: 'Lists the users of the tenant.',
      input: Page,
      output: z.object({ items: z.array(UserView), next: z.string().nullable() }),
    },
    async ({ input, services }) => {
      const { items, next } = await listUsers(services.db.selectFrom('users').selectAll(), input)
      return { items: items.map(viewUser), next }
    },
  ),

  setRoles: procedure(
    {
      access: { roles: ['owner'] },
      freshness: 'strict',
      description: 'Gives a user of the tenant other roles. Their sessions end.',
      input: z.strictObject({ user: z.uuid(), roles: Roles }),
      output: Done,
    },
    async ({ input: { user, roles }, services, principal }) => {
      await setRoles(services, principal, user, roles)
      return {}
    },
  ),

  remove: procedure(
    {
      access: { roles: ['owner'] },
      freshness: 'strict',
      description: 'Removes a user from the tenant; what all apps keep of them is erased.',
      input: z.strictObject({ user: z.uuid() }),
      output: Done,
    },
    async ({ input: { user }, services, principal }) => {
      await removeUser(services, principal, user)
      return {}
    },
  ),

  audit: procedure(
    {
      access: { roles: ['owner', 'operator'] },
      description: 'Who did what in the tenant, newest first.',
      input: Page,
      output: z.object({
        items: z.array(
          z.object({
            type: z.string(),
            actor: z.uuid().nullable(),
            user: z.uuid().nullable(),
            address: z.string().nullable(),
            email: z.string().nullable(),
            at: z.iso.datetime(),
          }),
        ),
        next: z.string().nullable(),
      }),
    },
    async ({ input, services }) => {
      const { items, next } = await listAudit(services.db, input)
      return {
        items: items.map(({ type, actor_id, user_id, address, email, created_at }) => ({
          type,
          actor: actor_id,
          user: user_id,
          address,
          email,
          at: created_at.toISOString(),
        })),
        next,
      }
    },
  ),
})
