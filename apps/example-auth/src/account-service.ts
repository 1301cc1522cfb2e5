import { QuintetError, service, withServices } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { z } from 'zod'
import { checkPassword, hashPassword } from './passwords.ts'
import type { AuthServices } from './services.ts'
import { createTenant, createUser, findForSignIn, getUser, type User } from './users.ts'

const { procedure } = withServices<AuthServices>()

const Slug = z.string().regex(/^[a-z][a-z0-9-]{1,62}$/, 'must be lower-case letters, digits and hyphens')
const Email = z.email().max(254).toLowerCase()
/** NIST SP 800-63B: length counts, composition does not. */
const Password = z.string().min(12).max(256)
const Name = z.string().trim().min(1).max(100)

const UserView = z.object({
  id: z.uuid(),
  tenantId: z.uuid(),
  email: z.string(),
  name: z.string(),
  roles: z.array(z.string()),
})
const Tokens = z.object({ accessToken: z.string(), refreshToken: z.string(), expiresIn: z.number() })
const SignedIn = Tokens.extend({ user: UserView })
const Nothing = z.strictObject({})
const Done = z.object({ ended: z.int() })

/** Users of a tenant, and their sessions. */
export const account = service('account', {
  signUp: procedure(
    {
      access: 'public',
      description: 'Makes a tenant with its first user, its owner, and signs them in.',
      input: z.strictObject({ tenant: Slug, email: Email, password: Password, name: Name }),
      output: SignedIn,
    },
    async ({ input, services }) => {
      await admitSignUp(services)
      const passwordHash = await hashPassword(input.password)
      const user = await asSystem('sign up a tenant', () =>
        services.db.transaction().execute(async (trx) => {
          const tenantId = await createTenant(trx, input.tenant)
          return createUser(trx, tenantId, {
            email: input.email,
            name: input.name,
            passwordHash,
            roles: ['owner'],
          })
        }),
      )
      return signIn(services, user)
    },
  ),

  addUser: procedure(
    {
      access: { roles: ['owner'] },
      description: "Adds a user to the caller's tenant.",
      input: z.strictObject({ email: Email, password: Password, name: Name }),
      output: UserView,
    },
    async ({ input, services, principal }) => {
      const passwordHash = await hashPassword(input.password)
      const { email, name } = input
      return viewUser(
        await createUser(services.db, principal.tenantId, { email, name, passwordHash, roles: ['member'] }),
      )
    },
  ),

  signIn: procedure(
    {
      access: 'public',
      description: 'Exchanges a password for an access token and a refresh token.',
      input: z.strictObject({ tenant: Slug, email: Email, password: z.string().max(256) }),
      output: SignedIn,
    },
    async ({ input, services, client }) => {
      const attempt = await services.sessions.admitSignIn({
        account: `${input.tenant}/${input.email}`,
        address: client.address,
      })
      const user = await asSystem('look up who signs in', () =>
        findForSignIn(services.db, input.tenant, input.email),
      )
      await checkPassword(user?.password_hash, input.password)
      await attempt.succeeded()
      return signIn(services, user as User)
    },
  ),

  refresh: procedure(
    {
      access: 'public',
      description: 'Exchanges a refresh token for new tokens. The old access token is refused from then on.',
      input: z.strictObject({ refreshToken: z.string().max(4096) }),
      output: Tokens,
    },
    async ({ input, services }) => services.sessions.refresh(input.refreshToken),
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

/** Everybody may sign up, so all of them together are held to a pace. */
async function admitSignUp({ limiter, settings }: AuthServices): Promise<void> {
  if (!settings.get('signUpOpen')) {
    throw new QuintetError('Sign-up is closed.', { code: 'ERR_ACCOUNT_SIGN_UP_CLOSED', kind: 'forbidden' })
  }
  const { allowed, retryAfter } = await limiter.consume('sign-up', {
    limit: settings.get('signUpsPerMinute'),
    period: '1m',
  })
  if (allowed) return
  throw new QuintetError('Too many sign-ups. Try again shortly.', {
    code: 'ERR_ACCOUNT_TOO_MANY_SIGN_UPS',
    kind: 'rate-limited',
    retryAfter,
  })
}

async function signIn(services: AuthServices, user: User): Promise<z.infer<typeof SignedIn>> {
  const { accessToken, refreshToken, expiresIn } = await services.sessions.signIn({
    userId: user.id,
    tenantId: user.tenant_id,
    roles: user.roles,
    amr: ['pwd'],
  })
  return { accessToken, refreshToken, expiresIn, user: viewUser(user) }
}

function viewUser({ id, tenant_id, email, name, roles }: User): z.infer<typeof UserView> {
  return { id, tenantId: tenant_id, email, name, roles }
}
