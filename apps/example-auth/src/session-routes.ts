import { tokenResponse, type Device, type SessionTokens } from '@quintet/auth'
import { fetchFacts } from '@quintet/auth/fetch'
import { QuintetError, type ClientInfo, type Route, withServices } from '@quintet/core'
import { networkOf } from '@quintet/core/http'
import { asSystem } from '@quintet/rls'
import { z } from 'zod'
import { Email, FreeSlug, Name, Password, Slug, UserView, viewUser } from './account-schema.ts'
import { recordAudit } from './audit.ts'
import { sendVerification } from './email-verification.ts'
import { assertStrong } from './password-policy.ts'
import { rolesAt } from './second-factor.ts'
import type { AuthServices } from './services.ts'
import { createTenant, createUser, findForSignIn, findTenant, tellAdded, type Credentials } from './users.ts'

const { route } = withServices<AuthServices>()

export const Tokens = z.object({
  accessToken: z.string(),
  refreshToken: z.string(),
  tokenType: z.enum(['Bearer', 'DPoP']),
  expiresIn: z.number(),
})
export const SignedIn = Tokens.extend({ user: UserView })

const signUp = route({
  method: 'POST',
  pattern: '/sign-up',
  access: 'public',
  description: 'Makes a tenant with its first user, its owner, and signs them in.',
  body: z.strictObject({ tenant: FreeSlug, email: Email, password: Password, name: Name }),
  response: SignedIn,
  handler: async (request, { body, services, client, signal, logger }) => {
    const key = await keyOf(request, services)
    await admitSignUp(services, client)
    await assertStrong(services, body)
    const { email, name } = body
    const passwordHash = await services.passwords.hash(body.password, { client, signal })
    const user = await asSystem('sign up a tenant', () =>
      services.db.transaction().execute(async (trx) => {
        const tenantId = await createTenant(trx, body.tenant)
        const made = await createUser(trx, tenantId, { email, name, passwordHash, roles: ['owner'] })
        await tellAdded(services, trx, made)
        const { address } = client
        await recordAudit(trx, { tenantId, type: 'tenant.signed-up', actorId: made.id, address })
        return made
      }),
    )
    // The tenant is there, whether or not mail can be sent now: the link can be asked for again.
    void sendVerification(services, user).catch((error: unknown) =>
      logger.error({ err: error }, 'a verification could not be sent'),
    )
    return tokenResponse(
      await startSession(services, { user, epoch: 0 }, { ...key, ...deviceOf(request, client) }),
    )
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
  handler: async (request, { body, services, client, signal }) => {
    const key = await keyOf(request, services)
    const attempt = await services.sessions.admitSignIn({
      account: `${body.tenant}/${body.email}`,
      address: client.address,
      deviceToken: services.cookies.deviceToken(fetchFacts(request)),
    })
    const found = await asSystem('look up who signs in', () =>
      findForSignIn(services.db, body.tenant, body.email),
    )
    try {
      await services.passwords.check(found?.passwordHash, body.password, { client, signal })
    } catch (error) {
      await noteFailure(services.db, body.tenant, found?.user.id, client.address)
      throw error
    }
    const credentials = found as Credentials
    const signedIn = await startSession(services, credentials, {
      ...key,
      ...deviceOf(request, client),
    })
    const device = services.cookies.setDevice(await attempt.succeeded())
    const { id: actorId, tenant_id: tenantId } = credentials.user
    const { address } = client
    await recordAudit(services.db, { tenantId, type: 'sign-in.succeeded', actorId, address })
    return tokenResponse(signedIn, [device])
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

/** A sign-in that failed is one of the tenant that was named, whether or not it has such a user. */
async function noteFailure(
  db: AuthServices['db'],
  slug: string,
  userId: string | undefined,
  address: string | null,
): Promise<void> {
  const tenantId = await asSystem('record a failed sign-in', () => findTenant(db, slug))
  if (tenantId === undefined) return
  await recordAudit(db, {
    tenantId,
    type: 'sign-in.failed',
    address,
    ...(userId !== undefined && { userId }),
  })
}

/** Everybody may sign up, so those of one network are held to a pace, and all of them together to another. */
async function admitSignUp({ limiter, settings }: AuthServices, { address }: ClientInfo): Promise<void> {
  if (!settings.get('signUpOpen')) {
    throw new QuintetError('Sign-up is closed.', { code: 'ERR_ACCOUNT_SIGN_UP_CLOSED', kind: 'forbidden' })
  }
  const network = address === null ? 'unknown' : networkOf(address)
  const budgets = [
    [`sign-up:${network}`, settings.get('signUpsPerMinuteAndNetwork')],
    ['sign-up', settings.get('signUpsPerMinute')],
  ] as const
  let retryAfter = 0
  for (const [key, limit] of budgets) {
    const pace = await limiter.consume(key, { limit, period: '1m' })
    if (!pace.allowed) retryAfter = pace.retryAfter
    if (!pace.allowed) break
  }
  if (retryAfter === 0) return
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
export async function keyOf(
  request: Request,
  { dpop, publicUrl }: AuthServices,
): Promise<{ readonly jkt?: string }> {
  const proof = request.headers.get('dpop')
  if (proof === null) return {}
  const url = publicUrl + new URL(request.url).pathname
  return { jkt: await dpop.verify(proof, { method: request.method, url, accessToken: undefined }) }
}

/** What the user's list of sessions shows of where they signed in. */
export function deviceOf(request: Request, { address }: ClientInfo): { readonly device: Device } {
  const userAgent = request.headers.get('user-agent')
  return { device: { ...(userAgent !== null && { userAgent }), ...(address !== null && { address }) } }
}

/**
 * Starts a session for what was read of the user.
 *
 * @throws AuthError `ERR_AUTH_SIGN_IN_OUTDATED` when they were removed, or their password or roles were changed since.
 */
export async function startSession(
  services: AuthServices,
  { user, epoch }: Pick<Credentials, 'user' | 'epoch'>,
  from: { readonly jkt?: string; readonly device: Device },
): Promise<z.infer<typeof SignedIn>> {
  const tokens = await services.sessions.signIn({
    userId: user.id,
    tenantId: user.tenant_id,
    roles: await rolesAt(services, user, 1),
    amr: ['pwd'],
    epoch,
    ...from,
  })
  return { ...viewTokens(tokens), user: viewUser(user) }
}

export function viewTokens({
  accessToken,
  refreshToken,
  tokenType,
  expiresIn,
}: SessionTokens): z.infer<typeof Tokens> {
  return { accessToken, refreshToken, tokenType, expiresIn }
}
