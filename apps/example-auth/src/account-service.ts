import { QuintetError, service, type UserPrincipal, withServices } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { z } from 'zod'
import { assertCaller, changeAccounts } from './account-change.ts'
import { Password, UserView, viewUser } from './account-schema.ts'
import { recordAudit } from './audit.ts'
import { sendVerification } from './email-verification.ts'
import { readPart, readProgress, requestExport } from './export.ts'
import { assertStrong } from './password-policy.ts'
import type { Asker } from './passwords.ts'
import { removeTenant, removeUser } from './removal.ts'
import type { AuthServices } from './services.ts'
import { findCredentials, getUser, setPassword, type Credentials } from './users.ts'

const { procedure } = withServices<AuthServices>()

const Nothing = z.strictObject({})
const Done = z.object({ ended: z.int() })

/** The caller, their sessions, and the end of both. */
export const account = service('account', {
  me: procedure(
    { access: 'authenticated', description: 'The caller.', input: Nothing, output: UserView },
    async ({ services, principal }) => viewUser(await getUser(services.db, principal.userId)),
  ),

  sendVerification: procedure(
    {
      access: 'authenticated',
      description:
        "Sends a link to the caller's address once more, by which they confirm that they read its mail.",
      input: Nothing,
      output: z.object({}),
    },
    async ({ services, principal }) => {
      const pace = await services.limiter.consume(`verifications:${principal.userId}`, {
        limit: 5,
        period: '1h',
      })
      if (!pace.allowed)
        throw new QuintetError('The link was sent several times. Look into your mail, or try again later.', {
          code: 'ERR_ACCOUNT_TOO_MANY_VERIFICATIONS',
          kind: 'rate-limited',
          retryAfter: pace.retryAfter,
        })
      await sendVerification(services, await getUser(services.db, principal.userId))
      return {}
    },
  ),

  sessions: procedure(
    {
      access: 'authenticated',
      description: "The caller's sessions, newest first, with the device that each was started on.",
      input: Nothing,
      output: z.object({
        items: z.array(
          z.object({
            id: z.string(),
            current: z.boolean(),
            createdAt: z.number(),
            expiresAt: z.number(),
            lastSeenAt: z.number().nullable(),
            methods: z.array(z.string()),
            device: z.object({ userAgent: z.string().nullable(), address: z.string().nullable() }),
          }),
        ),
      }),
    },
    async ({ services, principal }) => {
      const sessions = await services.sessions.list({
        tenantId: principal.tenantId,
        userId: principal.userId,
      })
      return {
        items: sessions.map(({ sessionId, createdAt, expiresAt, lastSeenAt, amr, device }) => ({
          id: sessionId,
          createdAt,
          expiresAt,
          lastSeenAt,
          methods: [...amr],
          device: { userAgent: device.userAgent ?? null, address: device.address ?? null },
          current: sessionId === principal.sessionId,
        })),
      }
    },
  ),

  endSession: procedure(
    {
      access: 'authenticated',
      description: "Ends one of the caller's sessions, e.g. that of a lost device.",
      input: z.strictObject({ id: z.string().max(200) }),
      output: Done,
    },
    async ({ input, services, principal: { tenantId, userId } }) => {
      const own = await services.sessions.list({ tenantId, userId })
      if (!own.some(({ sessionId }) => sessionId === input.id)) return { ended: 0 }
      await services.sessions.revoke({ tenantId, userId, sessionId: input.id })
      await recordAudit(services.db, { tenantId, type: 'session.ended', actorId: userId })
      return { ended: 1 }
    },
  ),

  changePassword: procedure(
    {
      access: 'authenticated',
      freshness: 'strict',
      description: "Changes the caller's password. Their other sessions end.",
      input: z.strictObject({ current: z.string().max(256), password: Password }),
      output: Done,
    },
    async (call) => {
      const { services, principal, input, client } = call
      const { tenantId, userId, sessionId } = principal
      const { user, epoch } = await confirmPassword(call, input.current)
      await assertStrong(services, { email: user.email, password: input.password })
      const hash = await services.passwords.hash(input.password, call)
      return await changeAccounts(services, tenantId, 'change a password', async ({ trx, endSessions }) => {
        await assertCaller(trx, principal, { epoch })
        await setPassword(trx, userId, hash)
        const { address } = client
        await recordAudit(trx, { tenantId, type: 'password.changed', actorId: userId, address })
        const kept = sessionId === null ? {} : { kept: sessionId }
        return { ended: await endSessions([userId], { reason: 'password changed', ...kept }) }
      })
    },
  ),

  export: procedure(
    {
      access: 'authenticated',
      freshness: 'strict',
      description: 'Asks all apps for what they keep of the caller.',
      input: Nothing,
      output: z.object({ id: z.uuid() }),
    },
    async ({ services, principal }) => ({ id: await requestExport(services, principal, 'user') }),
  ),

  exportTenant: procedure(
    {
      access: { roles: ['owner'] },
      freshness: 'strict',
      description: "Asks all apps for what they keep of the caller's tenant.",
      input: Nothing,
      output: z.object({ id: z.uuid() }),
    },
    async ({ services, principal }) => ({ id: await requestExport(services, principal, 'tenant') }),
  ),

  exported: procedure(
    {
      access: 'authenticated',
      description: 'How far an export is that the caller has asked for, by app.',
      input: z.strictObject({ id: z.uuid() }),
      output: z.object({
        complete: z.boolean(),
        apps: z.record(z.string(), z.object({ parts: z.int(), complete: z.boolean() })),
      }),
    },
    async ({ input, services, principal }) => await readProgress(services, principal, input.id),
  ),

  exportPart: procedure(
    {
      access: 'authenticated',
      description: 'A part of an export that has arrived; those of an app are counted from 0.',
      input: z.strictObject({ id: z.uuid(), app: z.string().max(100), part: z.int().min(0).max(1_000_000) }),
      output: z.object({ rows: z.array(z.unknown()) }),
    },
    async ({ input, services, principal }) => ({ rows: [...(await readPart(services, principal, input))] }),
  ),

  remove: procedure(
    {
      access: 'authenticated',
      freshness: 'strict',
      description: "Removes the caller's account; what all apps keep of them is erased.",
      input: z.strictObject({ password: z.string().max(256) }),
      output: z.object({}),
    },
    async (call) => {
      const { epoch } = await confirmPassword(call, call.input.password)
      await removeUser(call.services, call.principal, call.principal.userId, { epoch })
      return {}
    },
  ),

  removeTenant: procedure(
    {
      access: { roles: ['owner'] },
      freshness: 'strict',
      description: "Removes the caller's tenant with all its users; what all apps keep of it is erased.",
      input: z.strictObject({ password: z.string().max(256) }),
      output: z.object({}),
    },
    async (call) => {
      const { epoch } = await confirmPassword(call, call.input.password)
      await removeTenant(call.services, call.principal, epoch)
      return {}
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
      const { tenantId, userId } = principal
      const ended = await services.sessions.revokeAll({ tenantId, userId })
      await recordAudit(services.db, { tenantId, type: 'sessions.ended', actorId: userId })
      return { ended: ended.length }
    },
  ),
})

/** Has the caller prove who they are anew; attempts are counted as those of a sign-in are. */
export async function confirmPassword(
  call: Asker & { readonly services: AuthServices; readonly principal: UserPrincipal },
  password: string,
): Promise<Credentials> {
  const { services, principal, client } = call
  const { tenantId, userId } = principal
  const attempt = await services.sessions.admitSignIn({
    account: `${tenantId}/${userId}`,
    address: client.address,
  })
  const found = await asSystem('confirm a password', () => findCredentials(services.db, principal))
  try {
    await services.passwords.check(found?.passwordHash, password, call)
  } catch (error) {
    const { address } = client
    await recordAudit(services.db, { tenantId, type: 'password.refused', actorId: userId, address })
    throw error
  }
  await attempt.succeeded()
  return found as Credentials
}
