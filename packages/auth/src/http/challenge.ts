import type { QuintetError } from '@quintet/core'
import { problemHeaders, statusOf, toProblem } from '@quintet/core/http'
import { option, type Option, readOptions, toQuintetError } from '@quintet/core/kit'
import { dpopAlgorithms } from '../dpop/dpop-proof.ts'

/** How a refusal looks in HTTP. */
export interface AuthChallenge {
  readonly status: number
  /** Lower-case names: `www-authenticate`, `retry-after`, `dpop-nonce`. */
  readonly headers: Readonly<Record<string, string>>
}

export interface ChallengeOptions {
  /** @defaultValue `'api'` */
  readonly realm?: string
  /** The scheme that the client used, or should use. @defaultValue `'Bearer'` */
  readonly scheme?: 'Bearer' | 'DPoP'
}

/** The `realm` of a challenge: any text, also an empty one. */
export function realmOption(): Option<string> {
  return option.text(undefined, { pattern: /^[^]*$/, expected: 'a text' })
}

const spec = { realm: realmOption().or('api'), scheme: option.oneOf(['Bearer', 'DPoP'], 'Bearer') }

/** What must not stand in a parameter (RFC 6750 section 3); a line break or a letter beyond ASCII would break the header. */
const unquotable = /[^\x20\x21\x23-\x5B\x5D-\x7E]/g

/** Headers are bounded in total, by clients and by proxies; the whole message stands in the problem document. */
const maxDescription = 200

/**
 * The status and headers for an error of this package or of core, after RFC 6750 section 3, RFC 9449 section 7.1
 * and RFC 9470. An outage is 503 with `Retry-After`, never 401: a client must not throw its tokens away for it.
 */
export function toChallenge(thrown: unknown, options: ChallengeOptions = {}): AuthChallenge {
  const { realm, scheme } = readOptions<ChallengeOptions, typeof spec>(options, spec, 'toChallenge')
  const error = toQuintetError(thrown)
  const { 'retry-after': retryAfter } = problemHeaders(toProblem(error))
  return {
    status: statusOf(error),
    headers: {
      ...challengeOf(error, { realm, scheme }),
      ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
    },
  }
}

/** The headers that say which credentials are wanted; empty for an error that others would not mend. */
export function challengeOf(
  error: QuintetError,
  { realm, scheme }: Required<ChallengeOptions>,
): Readonly<Record<string, string>> {
  const challenge: Challenge = (code, extra = {}) => {
    const parts = {
      realm,
      ...(code === undefined ? {} : { error: code }),
      ...extra,
      ...(scheme === 'DPoP' ? { algs: dpopAlgorithms.join(' ') } : {}),
    }
    return `${scheme} ${Object.entries(parts)
      .map(([name, value]) => `${name}="${value.replace(unquotable, '')}"`)
      .join(', ')}`
  }
  const described = { error_description: error.message.slice(0, maxDescription) }
  switch (error.kind) {
    case 'invalid-input':
      // What is wrong with a request beside its credentials is no matter of this scheme.
      if (!error.code.startsWith('ERR_AUTH_')) return {}
      return { 'www-authenticate': challenge('invalid_request', described) }
    case 'unauthenticated':
      return unauthenticated(error.code, error.details?.['nonce'], challenge, described)
    case 'forbidden':
      return forbidden(error.code, error.details, challenge, described)
    default:
      return {}
  }
}

type Challenge = (code?: string, extra?: Readonly<Record<string, string>>) => string

function unauthenticated(
  code: string,
  nonce: unknown,
  challenge: Challenge,
  described: Readonly<Record<string, string>>,
): Record<string, string> {
  // Without credentials there is nothing wrong with any: no error code (RFC 6750 section 3.1).
  if (code === 'ERR_AUTH_CREDENTIALS_MISSING' || code === 'ERR_CORE_UNAUTHENTICATED') {
    return { 'www-authenticate': challenge() }
  }
  if (code === 'ERR_AUTH_DPOP_NONCE_REQUIRED') {
    return {
      'www-authenticate': challenge('use_dpop_nonce', described),
      ...(typeof nonce === 'string' ? { 'dpop-nonce': nonce.replace(unquotable, '') } : {}),
    }
  }
  const error = code === 'ERR_AUTH_DPOP_INVALID' ? 'invalid_dpop_proof' : 'invalid_token'
  return { 'www-authenticate': challenge(error, described) }
}

function forbidden(
  code: string,
  details: Readonly<Record<string, unknown>> | undefined,
  challenge: Challenge,
  described: Readonly<Record<string, string>>,
): Record<string, string> {
  if (code === 'ERR_AUTH_CSRF_REFUSED') return {}
  if (code !== 'ERR_AUTH_STEP_UP_REQUIRED')
    return { 'www-authenticate': challenge('insufficient_scope', described) }
  const aal = details?.['aal']
  const maxAge = details?.['maxAge']
  return {
    'www-authenticate': challenge('insufficient_user_authentication', {
      ...described,
      ...(typeof aal === 'number' ? { acr_values: `aal${aal}` } : {}),
      ...(typeof maxAge === 'number' ? { max_age: String(maxAge) } : {}),
    }),
  }
}
