import { service, withServices } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { z } from 'zod'
import { assertNotEmail, Email, Name, Password, UserView, viewUser } from './account-schema.ts'
import { hashPassword } from './passwords.ts'
import type { AuthServices } from './services.ts'
import { createUser, getUser } from './users.ts'

const { procedure } = withServices<AuthServices>()

const Nothing = z.strictObject({})
const Done = z.object({ ended: z.int() })

/** Users of a tenant, and their sessions. */
export const account = service('account', {
  addUser: procedure(
    {
      access: { roles: ['owner'] },
      description: "Adds a user to the caller's tenant.",
      input: z.strictObject({ email: Email, password: Password, name: Name }),
      output: UserView,
    },
    async ({ input, services, principal }) => {
      assertNotEmail(input)
      const { email, name } = input
      const passwordHash = await hashPassword(input.password)
      // Tenants have no right to write users: nobody gives themselves a role, whatever statement slips through.
      const user = await asSystem('add a user to a tenant', () =>
        services.db
          .transaction()
          .execute((trx) =>
            createUser(trx, principal.tenantId, { email, name, passwordHash, roles: ['member'] }),
          ),
      )
      return viewUser(user)
    },
  ),

  me: procedure(
    { access: 'authenticated', description: 'The caller.', input: Nothing, output: UserView },
    async ({ services, principal }) => viewUser(await getUser(services.db, principal.userId)),
  ),

  sessions: procedure(
    {
      access: 'authenticated',
      description: "The caller's sessions.",
      input: Nothing,
      output: z.object({
        items: z.array(
          z.object({ id: z.string(), current: z.boolean(), createdAt: z.number(), expiresAt: z.number() }),
        ),
      }),
    },
    async ({ services, principal }) => {
      const sessions = await services.sessions.list({
        tenantId: principal.tenantId,
        userId: principal.userId,
      })
      return {
        items: sessions.map(({ sessionId, createdAt, expiresAt }) => ({
          id: sessionId,
          createdAt,
          expiresAt,
          current: sessionId === principal.sessionId,
        })),
      }
    },
  ),

  signOut: procedure(
    {
      access: 'authenticated',
      description: "Ends the caller's session, everywhere at once.",
      input: Nothing,
      output: Done,
    },
    async ({ services, principal }) => {
      const { tenantId, userId, sessionId } = principal
      if (sessionId === null) return { ended: 0 }
      await services.sessions.revoke({ tenantId, userId, sessionId })
      return { ended: 1 }
    },
  ),

  signOutEverywhere: procedure(
    {
      access: 'authenticated',
      description: "Ends all of the caller's sessions.",
      input: Nothing,
      output: Done,
    },
    async ({ services, principal }) => {
      const ended = await services.sessions.revokeAll({
        tenantId: principal.tenantId,
        userId: principal.userId,
      })
      return { ended: ended.length }
    },
  ),
})
