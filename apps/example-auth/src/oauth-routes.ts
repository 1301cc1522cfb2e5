import { serveJwks, tokenResponse } from '@quintet/auth'
import { isQuintetError, QuintetError, type Route, withServices } from '@quintet/core'
import { scopes } from '@quintet/example-platform/scopes'
import { grantMachine } from './client-credentials.ts'
import type { AuthServices } from './services.ts'
import { keyOf } from './session-routes.ts'

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
        token_endpoint: `${publicUrl}/token`,
        introspection_endpoint: `${publicUrl}/introspect`,
        revocation_endpoint: `${publicUrl}/revoke`,
        token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post'],
        revocation_endpoint_auth_methods_supported: ['none'],
        response_types_supported: [],
        grant_types_supported: ['refresh_token', 'client_credentials'],
        scopes_supported: scopes,
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
    const token = oneOf(await readForm(request), 'token')
    const found = await services.manager.introspect(token, { signal })
    const answer = found.active && found.tid === principal.tenantId ? found : { active: false }
    return Response.json(answer, { headers: { 'cache-control': 'no-store' } })
  },
})

/** What clients of OAuth ask for tokens, beside the routes of this app's own clients. */
const token = route({
  method: 'POST',
  pattern: '/token',
  access: 'public',
  description: 'Tokens for a refresh token (RFC 6749 section 6), or for the key of a machine (section 4.4).',
  maxRequestSize: '16kb',
  handler: async (request, { services, client }) => {
    const form = await readForm(request)
    const grant = oneOf(form, 'grant_type')
    if (grant !== 'refresh_token' && grant !== 'client_credentials')
      return refusedGrant('unsupported_grant_type')
    try {
      const key = await keyOf(request, services)
      if (grant === 'client_credentials') return await grantMachine(services, request, form, client, key)
      const refreshToken = oneOf(form, 'refresh_token')
      const tokens = await services.sessions.refresh(refreshToken, key)
      return tokenResponse({
        access_token: tokens.accessToken,
        token_type: tokens.tokenType,
        expires_in: tokens.expiresIn,
        refresh_token: tokens.refreshToken,
      })
    } catch (error) {
      if (!isQuintetError(error) || error.kind !== 'unauthenticated') throw error
      return refusedGrant(error.code.startsWith('ERR_AUTH_DPOP') ? 'invalid_dpop_proof' : 'invalid_grant')
    }
  },
})

/** @see RFC 6749 section 5.2, RFC 9449 section 5 */
function refusedGrant(error: 'invalid_dpop_proof' | 'invalid_grant' | 'unsupported_grant_type'): Response {
  return Response.json({ error }, { status: 400, headers: { 'cache-control': 'no-store' } })
}

/** Who has a refresh token may end its session; for what is none the answer is the same. */
const revoke = route({
  method: 'POST',
  pattern: '/revoke',
  access: 'public',
  description: 'Ends the session of a refresh token (RFC 7009).',
  maxRequestSize: '16kb',
  handler: async (request, { services }) => {
    try {
      await services.sessions.signOut(oneOf(await readForm(request), 'token'))
    } catch (error) {
      if (!(error instanceof QuintetError) || error.kind !== 'unauthenticated') throw error
    }
    return new Response(null, { status: 200, headers: { 'cache-control': 'no-store' } })
  },
})

export const oauthRoutes: readonly Route[] = [jwks, metadata, introspect, token, revoke]

async function readForm(request: Request): Promise<URLSearchParams> {
  const type = request.headers.get('content-type') ?? ''
  if (type.startsWith('application/x-www-form-urlencoded')) return new URLSearchParams(await request.text())
  throw badForm('Send a form, as application/x-www-form-urlencoded.')
}

/** A member of a form that is there once. @throws QuintetError `ERR_ACCOUNT_BAD_FORM` (invalid-input). */
function oneOf(form: URLSearchParams, name: string): string {
  const [value = '', ...more] = form.getAll(name)
  if (value !== '' && value.length <= 8_192 && more.length === 0) return value
  throw badForm(`Send ${name} once.`)
}

function badForm(message: string): QuintetError {
  return new QuintetError(message, { code: 'ERR_ACCOUNT_BAD_FORM', kind: 'invalid-input' })
}
