import { type ErrorKind, QuintetError, type QuintetErrorOptions } from '@quintet/core'

/** The codes of the errors that this package throws. */
export type AuthErrorCode =
  | 'ERR_AUTH_CREDENTIALS_AMBIGUOUS'
  | 'ERR_AUTH_CREDENTIALS_MALFORMED'
  | 'ERR_AUTH_CREDENTIALS_MISSING'
  | 'ERR_AUTH_CSRF_REFUSED'
  | 'ERR_AUTH_DPOP_INVALID'
  | 'ERR_AUTH_DPOP_NONCE_REQUIRED'
  | 'ERR_AUTH_FORBIDDEN'
  | 'ERR_AUTH_NO_SIGNING_KEY'
  | 'ERR_AUTH_REFRESH_EXPIRED'
  | 'ERR_AUTH_REFRESH_INVALID'
  | 'ERR_AUTH_REFRESH_REUSED'
  | 'ERR_AUTH_REFRESH_REVOKED'
  | 'ERR_AUTH_REFRESH_SUPERSEDED'
  | 'ERR_AUTH_SESSION_COLD'
  | 'ERR_AUTH_SESSION_EXPIRED'
  | 'ERR_AUTH_SESSION_REVOKED'
  | 'ERR_AUTH_SIGN_IN_OUTDATED'
  | 'ERR_AUTH_STEP_UP_REQUIRED'
  | 'ERR_AUTH_THROTTLED'
  | 'ERR_AUTH_TOKEN_EXPIRED'
  | 'ERR_AUTH_TOKEN_INVALID'
  | 'ERR_AUTH_TOKEN_SUPERSEDED'
  | 'ERR_AUTH_UNAVAILABLE'

interface ErrorText {
  readonly kind: ErrorKind
  /** What a client switches on; sent in `details.reason`. */
  readonly reason: string
  readonly message: string
}

/** Every refusal in the words that a caller may see: what to do next, and never why a check failed in detail. */
const texts: Readonly<Record<AuthErrorCode, ErrorText>> = {
  ERR_AUTH_CREDENTIALS_AMBIGUOUS: {
    kind: 'invalid-input',
    reason: 'ambiguous',
    message: 'The request carries credentials more than once. Send exactly one.',
  },
  ERR_AUTH_CREDENTIALS_MALFORMED: {
    kind: 'invalid-input',
    reason: 'malformed',
    message: 'The Authorization header cannot be read. Send "Bearer" or "DPoP" and the token.',
  },
  ERR_AUTH_CREDENTIALS_MISSING: {
    kind: 'unauthenticated',
    reason: 'missing',
    message: 'This needs a signed-in caller.',
  },
  ERR_AUTH_CSRF_REFUSED: {
    kind: 'forbidden',
    reason: 'csrf',
    message: 'The request does not carry the CSRF token of this session.',
  },
  ERR_AUTH_DPOP_INVALID: {
    kind: 'unauthenticated',
    reason: 'dpop_invalid',
    message: 'The proof of possession was not accepted.',
  },
  ERR_AUTH_DPOP_NONCE_REQUIRED: {
    kind: 'unauthenticated',
    reason: 'use_dpop_nonce',
    message: 'The proof of possession must carry the nonce of this server. Repeat it with the one given.',
  },
  ERR_AUTH_FORBIDDEN: { kind: 'forbidden', reason: 'forbidden', message: 'You may not do this.' },
  ERR_AUTH_NO_SIGNING_KEY: {
    kind: 'internal',
    reason: 'no_signing_key',
    message: 'The key ring has no key in state "signing". Promote one.',
  },
  ERR_AUTH_REFRESH_EXPIRED: {
    kind: 'unauthenticated',
    reason: 'expired',
    message: 'The session has expired. Sign in again.',
  },
  ERR_AUTH_REFRESH_INVALID: {
    kind: 'unauthenticated',
    reason: 'invalid',
    message: 'The refresh token was not accepted.',
  },
  ERR_AUTH_REFRESH_REUSED: {
    kind: 'unauthenticated',
    reason: 'reused',
    message: 'The refresh token had been used before; the session was revoked. Sign in again.',
  },
  ERR_AUTH_REFRESH_REVOKED: {
    kind: 'unauthenticated',
    reason: 'revoked',
    message: 'The session was revoked. Sign in again.',
  },
  ERR_AUTH_REFRESH_SUPERSEDED: {
    kind: 'unauthenticated',
    reason: 'superseded',
    message: 'The refresh token has been replaced. Use the newest one.',
  },
  ERR_AUTH_SESSION_COLD: {
    kind: 'unauthenticated',
    reason: 'session_cold',
    message: 'The session is not known here now. Call the auth service once, then repeat the call.',
  },
  ERR_AUTH_SESSION_EXPIRED: {
    kind: 'unauthenticated',
    reason: 'expired',
    message: 'The session has expired. Sign in again.',
  },
  ERR_AUTH_SESSION_REVOKED: {
    kind: 'unauthenticated',
    reason: 'revoked',
    message: 'The session was revoked. Sign in again.',
  },
  ERR_AUTH_SIGN_IN_OUTDATED: {
    kind: 'unauthenticated',
    reason: 'sign_in_outdated',
    message: 'The account has changed since this sign-in began. Sign in again.',
  },
  ERR_AUTH_STEP_UP_REQUIRED: {
    kind: 'forbidden',
    reason: 'step_up_required',
    message: 'This needs a stronger or a more recent sign-in.',
  },
  ERR_AUTH_THROTTLED: {
    kind: 'rate-limited',
    reason: 'throttled',
    message: 'Too many attempts. Try again later.',
  },
  ERR_AUTH_TOKEN_EXPIRED: {
    kind: 'unauthenticated',
    reason: 'token_expired',
    message: 'The access token has expired. Refresh it.',
  },
  ERR_AUTH_TOKEN_INVALID: {
    kind: 'unauthenticated',
    reason: 'invalid',
    message: 'The access token was not accepted.',
  },
  ERR_AUTH_TOKEN_SUPERSEDED: {
    kind: 'unauthenticated',
    reason: 'superseded',
    message: 'The access token has been replaced by a refresh. Use the newest one.',
  },
  ERR_AUTH_UNAVAILABLE: {
    kind: 'unavailable',
    reason: 'unavailable',
    message: 'The session cannot be checked now. Try again shortly.',
  },
}

/** Every code that this package throws. */
export const authErrorCodes: readonly AuthErrorCode[] = Object.freeze(Object.keys(texts) as AuthErrorCode[])

/** What a caller should wait after `ERR_AUTH_UNAVAILABLE`, in milliseconds. */
const unavailableRetryAfter = 1_000

export type AuthErrorOptions = Pick<QuintetErrorOptions<AuthErrorCode>, 'cause' | 'details' | 'retryAfter'>

/**
 * What this package throws. Kind and message follow from the code; `details.reason` is the short word that
 * clients switch on. The precise cause of a refusal stands in `cause`, for operators, and is not sent.
 */
export class AuthError extends QuintetError<AuthErrorCode> {
  constructor(code: AuthErrorCode, options: AuthErrorOptions = {}) {
    const { kind, reason, message } = texts[code]
    const retryAfter = options.retryAfter ?? (kind === 'unavailable' ? unavailableRetryAfter : undefined)
    super(message, {
      code,
      kind,
      details: { reason, ...options.details },
      ...(retryAfter === undefined ? {} : { retryAfter }),
      ...(options.cause === undefined ? {} : { cause: options.cause }),
    })
  }
}

/** Why a token was refused, for operators alone: the `cause` of an {@link AuthError}. Never holds the token. */
export class Refusal extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(reason, options)
    this.name = 'Refusal'
  }
}
