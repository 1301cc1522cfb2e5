import { tokenResponse, type SessionTokens } from '@quintet/auth'
import { fetchFacts } from '@quintet/auth/fetch'
import { QuintetError, type Route, withServices } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { z } from 'zod'
import {
  assertNotEmail,
  Email,
  FreeSlug,
  Name,
  Password,
  Slug,
  UserView,
  viewUser,
} from './account-schema.ts'
import { checkPassword, hashPassword } from './passwords.ts'
import type { AuthServices } from './services.ts'
import { createTenant, createUser, findForSignIn, type User } from './users.ts'

const { route } = withServices<AuthServices>()

const Tokens = z.object({
  accessToken: z.string(),
  refreshToken: z.string(),
  tokenType: z.enum(['Bearer', 'DPoP']),
  expiresIn: z.number(),
})
const SignedIn = Tokens.extend({ user: UserView })

const signUp = route({
  method: 'POST',
  pattern: '/sign-up',
  access: 'public',
  description: 'Makes a tenant with its first user, its owner, and signs them in.',
  body: z.strictObject({ tenant: FreeSlug, email: Email, password: Password, name: Name }),
  response: SignedIn,
  handler: async (request, { body, services }) => {
    assertNotEmail(body)
    const key = await keyOf(request, services)
    await admitSignUp(services)
    const { email, name } = body
    const passwordHash = await hashPassword(body.password)
    const user = await asSystem('sign up a tenant', () =>
      services.db.transaction().execute(async (trx) => {
        const tenantId = await createTenant(trx, body.tenant)
        return createUser(trx, tenantId, { email, name, passwordHash, roles: ['owner'] })
      }),
    )
    return tokenResponse(await startSession(services, user, key))
  },
})

/** Counts attempts by account, address and device, so that strangers cannot lock out a device that is known. */
const signIn = route({
  method: 'POST',
  pattern: '/sign-in',
  access: 'public',
  description:
    'Exchanges a password for an access token and a refresh token. A cookie makes the device known.',
  body: z.strictObject({ tenant: Slug, email: Email, password: z.string().max(256) }),
  response: SignedIn,
  handler: async (request, { body, services, client }) => {
    const key = await keyOf(request, services)
    const attempt = await services.sessions.admitSignIn({
      account: `${body.tenant}/${body.email}`,
      address: client.address,
      deviceToken: services.cookies.deviceToken(fetchFacts(request)),
    })
    const user = await asSystem('look up who signs in', () =>
      findForSignIn(services.db, body.tenant, body.email),
    )
    await checkPassword(user?.password_hash, body.password)
    const device = services.cookies.setDevice(await attempt.succeeded())
    return tokenResponse(await startSession(services, user as User, key), [device])
  },
})

const refresh = route({
  method: 'POST',
  pattern: '/refresh',
  access: 'public',
  description: 'Exchanges a refresh token for new tokens. The old access token is refused from then on.',
  body: z.strictObject({ refreshToken: z.string().max(4096) }),
  response: Tokens,
  handler: async (request, { body, services }) => {
    const key = await keyOf(request, services)
    return tokenResponse(viewTokens(await services.sessions.refresh(body.refreshToken, key)))
  },
})

export const sessionRoutes: readonly Route[] = [signUp, signIn, refresh]

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

/**
 * The thumbprint of the client's key, where it sends a proof of possession: the session works with that key alone.
 *
 * @see RFC 9449 section 5
 */
async function keyOf(
  request: Request,
  { dpop, publicUrl }: AuthServices,
): Promise<{ readonly jkt?: string }> {
  const proof = request.headers.get('dpop')
  if (proof === null) return {}
  const url = publicUrl + new URL(request.url).pathname
  return { jkt: await dpop.verify(proof, { method: request.method, url, accessToken: undefined }) }
}

async function startSession(
  services: AuthServices,
  user: User,
  key: { readonly jkt?: string },
): Promise<z.infer<typeof SignedIn>> {
  const tokens = await services.sessions.signIn({
    userId: user.id,
    tenantId: user.tenant_id,
    roles: user.roles,
    amr: ['pwd'],
    ...key,
  })
  return { ...viewTokens(tokens), user: viewUser(user) }
}

function viewTokens({
  accessToken,
  refreshToken,
  tokenType,
  expiresIn,
}: SessionTokens): z.infer<typeof Tokens> {
  return { accessToken, refreshToken, tokenType, expiresIn }
}
