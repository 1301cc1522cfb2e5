import { serveJwks } from '@quintet/auth'
import { QuintetError, type Route, withServices } from '@quintet/core'
import { z } from 'zod'
import type { AuthServices } from './services.ts'

const { route } = withServices<AuthServices>()

/** The public keys, for everybody who verifies tokens. */
const jwks = route({
  method: 'GET',
  pattern: '/.well-known/jwks.json',
  access: 'public',
  description: 'The public keys of the tokens (RFC 7517).',
  handler: (request, { services }) => serveJwks(services.keys, request),
})

const metadata = route({
  method: 'GET',
  pattern: '/.well-known/oauth-authorization-server',
  access: 'public',
  description: 'Where the endpoints are (RFC 8414).',
  handler: (_, { services: { issuer, publicUrl } }) =>
    Response.json(
      {
        issuer,
        jwks_uri: `${publicUrl}/.well-known/jwks.json`,
        token_endpoint: `${publicUrl}/refresh`,
        introspection_endpoint: `${publicUrl}/introspect`,
        revocation_endpoint: `${publicUrl}/revoke`,
        revocation_endpoint_auth_methods_supported: ['none'],
        response_types_supported: [],
        grant_types_supported: ['refresh_token'],
        dpop_signing_alg_values_supported: ['ES256', 'EdDSA'],
      },
      { headers: { 'cache-control': 'public, max-age=3600' } },
    ),
})

/** Tells of tokens of the caller's own tenant alone; every other one is as good as none. */
const introspect = route({
  method: 'POST',
  pattern: '/introspect',
  access: 'authenticated',
  freshness: 'strict',
  description: "Whether an access token of the caller's tenant is active (RFC 7662).",
  maxRequestSize: '16kb',
  handler: async (request, { services, principal, signal }) => {
    const token = await readToken(request)
    const answer = (body: object): Response =>
      Response.json(body, { headers: { 'cache-control': 'no-store' } })
    try {
      const found = await services.manager.authenticate(
        { scheme: 'bearer', token },
        { signal, freshness: 'strict' },
      )
      if (found.kind !== 'user' || found.tenantId !== principal.tenantId) return answer({ active: false })
      return answer({
        active: true,
        iss: services.issuer,
        sub: found.userId,
        sid: found.sessionId,
        tid: found.tenantId,
        token_type: 'Bearer',
        ...(found.expiresAt !== null && { exp: Math.floor(found.expiresAt / 1_000) }),
      })
    } catch (error) {
      if (error instanceof QuintetError && error.kind === 'unauthenticated') return answer({ active: false })
      throw error
    }
  },
})

/** Who has a refresh token may end its session; for what is none the answer is the same. */
const revoke = route({
  method: 'POST',
  pattern: '/revoke',
  access: 'public',
  description: 'Ends the session of a refresh token (RFC 7009).',
  maxRequestSize: '16kb',
  handler: async (request, { services }) => {
    try {
      await services.sessions.signOut(await readToken(request))
    } catch (error) {
      if (!(error instanceof QuintetError) || error.kind !== 'unauthenticated') throw error
    }
    return new Response(null, { status: 200, headers: { 'cache-control': 'no-store' } })
  },
})

export const oauthRoutes: readonly Route[] = [jwks, metadata, introspect, revoke]

/** The token of a form. @throws QuintetError `ERR_ACCOUNT_BAD_FORM` (invalid-input). */
async function readToken(request: Request): Promise<string> {
  const type = request.headers.get('content-type') ?? ''
  const form = type.startsWith('application/x-www-form-urlencoded')
    ? new URLSearchParams(await request.text())
    : new URLSearchParams()
  const token = z.string().min(1).max(8_192).safeParse(form.get('token'))
  if (token.success && form.getAll('token').length === 1) return token.data
  throw new QuintetError('Send one token, as application/x-www-form-urlencoded.', {
    code: 'ERR_ACCOUNT_BAD_FORM',
    kind: 'invalid-input',
  })
}
