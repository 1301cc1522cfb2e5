import { tokenResponse } from '@quintet/auth'
import { networkOf } from '@quintet/core/http'
import { QuintetError, type ClientInfo } from '@quintet/core'
import { recordAudit } from './audit.ts'
import { findMachine, markUsed } from './machines.ts'
import type { AuthServices } from './services.ts'
import { deviceOf } from './session-routes.ts'

/**
 * Tokens for a machine, by its id and key (RFC 6749 section 4.4). They work for some minutes, and there is none to refresh
 * them with. The answer to a wrong key is that to an unknown machine.
 *
 * @throws QuintetError `ERR_ACCOUNT_TOO_MANY_TOKENS` (rate-limited)
 */
export async function grantMachine(
  services: AuthServices,
  request: Request,
  form: URLSearchParams,
  client: ClientInfo,
  key: { readonly jkt?: string },
): Promise<Response> {
  const given = readClient(request.headers.get('authorization'), form)
  if (given === 'invalid_request') return refuse('invalid_request', 400)
  await admit(services, client)
  const machine = given && (await findMachine(services.db, given.id, given.secret))
  if (machine === undefined) return refuse('invalid_client', 401)
  const wanted = form.has('scope') ? (form.get('scope') ?? '').split(' ') : machine.scopes
  if (form.getAll('scope').length > 1 || !wanted.every((scope) => machine.scopes.includes(scope)))
    return refuse('invalid_scope', 400)
  const { id: userId, tenant_id: tenantId, epoch } = machine
  const tokens = await services.sessions.signIn({
    userId,
    tenantId,
    clientId: userId,
    permissions: wanted,
    epoch,
    ...deviceOf(request, client),
    ...key,
  })
  await markUsed(services.db, machine)
  await recordAudit(services.db, { tenantId, type: 'machine.signed-in', actorId: userId })
  return tokenResponse({
    access_token: tokens.accessToken,
    token_type: tokens.tokenType,
    expires_in: tokens.expiresIn,
    scope: wanted.join(' '),
  })
}

/**
 * Who asks, by `Authorization: Basic` or in the form, but not both.
 *
 * Form-encoding changes nothing in an id or a key.
 *
 * @see RFC 6749 section 2.3.1
 */
function readClient(
  authorization: string | null,
  form: URLSearchParams,
): { readonly id: string; readonly secret: string } | 'invalid_request' | undefined {
  const [ids, secrets] = [form.getAll('client_id'), form.getAll('client_secret')]
  if (ids.length > 1 || secrets.length > 1) return 'invalid_request'
  const [id, secret] = [ids[0], secrets[0]]
  if (authorization === null) return id === undefined || secret === undefined ? undefined : { id, secret }
  if (secret !== undefined) return 'invalid_request'
  const basic = /^basic +([A-Za-z0-9+/=]+)$/i.exec(authorization)?.[1]
  const [, name = '', key = ''] = /^([^:]*):(.*)$/s.exec(Buffer.from(basic ?? '', 'base64').toString()) ?? []
  if (id !== undefined && id !== name) return 'invalid_request'
  return { id: name, secret: key }
}

async function admit({ limiter }: AuthServices, { address }: ClientInfo): Promise<void> {
  const network = address === null ? 'unknown' : networkOf(address)
  const pace = await limiter.consume(`machine-tokens:${network}`, { limit: 120, period: '1m' })
  if (pace.allowed) return
  throw new QuintetError('Too many tokens were asked for. Use one until it expires.', {
    code: 'ERR_ACCOUNT_TOO_MANY_TOKENS',
    kind: 'rate-limited',
    retryAfter: pace.retryAfter,
  })
}

/** @see RFC 6749 section 5.2 */
function refuse(error: 'invalid_client' | 'invalid_request' | 'invalid_scope', status: 400 | 401): Response {
  const headers = {
    'cache-control': 'no-store',
    ...(status === 401 && { 'www-authenticate': 'Basic realm="token", charset="UTF-8"' }),
  }
  return Response.json({ error }, { status, headers })
}
