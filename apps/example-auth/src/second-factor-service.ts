import { tokenResponse } from '@quintet/auth'
import { QuintetError, service, type Route, withServices } from '@quintet/core'
import { z } from 'zod'
import { confirmPassword } from './account-service.ts'
import { confirm, enrol, remove, use } from './second-factor.ts'
import type { AuthServices } from './services.ts'
import { Tokens, viewTokens } from './session-routes.ts'
import { getUser } from './users.ts'

const { procedure, route } = withServices<AuthServices>()

const Given = z.string().max(256)
const Code = z.string().min(6).max(32)

/** The second factor of the caller: an authenticator app (RFC 6238), and codes for when that is lost. */
export const secondFactor = service('secondFactor', {
  enrol: procedure(
    {
      access: 'authenticated',
      freshness: 'strict',
      description: 'Makes a secret for an authenticator app. It counts once a first code has confirmed it.',
      input: z.strictObject({ password: Given }),
      output: z.object({ secret: z.string(), uri: z.string() }),
    },
    async (call) => enrol(call.services, call.principal, await confirmPassword(call, call.input.password)),
  ),

  confirm: procedure(
    {
      access: 'authenticated',
      freshness: 'strict',
      description:
        "Confirms the app by its first code, and gives codes for when it is lost, once. The caller's other sessions end.",
      input: z.strictObject({ code: Code }),
      output: z.object({ recoveryCodes: z.array(z.string()) }),
    },
    async ({ services, principal, input, client }) => ({
      recoveryCodes: [...(await confirm(services, principal, input.code, client))],
    }),
  ),

  remove: procedure(
    {
      access: 'authenticated',
      freshness: 'strict',
      description: "Removes the caller's second factor. Their other sessions end.",
      input: z.strictObject({ password: Given, code: Code }),
      output: z.object({}),
    },
    async (call) => {
      await confirmPassword(call, call.input.password)
      await remove(call.services, call.principal, call.input.code, call.client)
      return {}
    },
  ),
})

/** A code lifts the session that it comes in, and no other. */
const stepUp = route({
  method: 'POST',
  pattern: '/step-up',
  access: 'authenticated',
  freshness: 'strict',
  description: 'Exchanges a refresh token and a code for tokens of a session with two factors (RFC 9470).',
  body: z.strictObject({ refreshToken: z.string().max(4096), code: Code }),
  response: Tokens,
  handler: async (_, { body, services, principal, client }) => {
    const { sessionId } = principal
    if (sessionId === null)
      throw new QuintetError('There is no session to step up.', {
        code: 'ERR_ACCOUNT_NO_SESSION',
        kind: 'forbidden',
      })
    await use(services, principal, body.code, client)
    const { roles } = await getUser(services.db, principal.userId)
    // The manager has just seen a proof of possession by this key.
    const { jkt } = (principal.claims['cnf'] ?? {}) as { readonly jkt?: string }
    const proved = { aal: 2, amr: ['otp'], sessionId, roles, ...(jkt !== undefined && { jkt }) }
    return tokenResponse(viewTokens(await services.sessions.stepUp(body.refreshToken, proved)))
  },
})

export const secondFactorRoutes: readonly Route[] = [stepUp]
