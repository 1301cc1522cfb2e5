import { deepFreeze } from '@quintet/core/kit'
import { Refusal } from '../errors.ts'

/** The `typ` of an access token (RFC 9068 section 2.1). */
export const accessTokenType = 'at+jwt'

/** The claims of an access token. */
export interface AccessClaims {
  readonly iss: string
  readonly aud: string | readonly string[]
  /** The user. */
  readonly sub: string
  /** The session. */
  readonly sid: string
  /** The tenant. */
  readonly tid: string
  readonly client_id?: string
  readonly roles: readonly string[]
  readonly permissions: readonly string[]
  /** `fp` binds the token to a refresh generation; `jkt` to a key of the client (RFC 9449). */
  readonly cnf?: { readonly fp?: string; readonly jkt?: string }
  /** How often the session had been refreshed: by it verifiers tell the issuer that the answer to a refresh has arrived. */
  readonly gen?: number
  /** Seconds since the epoch, as are `exp` and `nbf`. */
  readonly iat: number
  readonly exp: number
  readonly nbf?: number
  readonly jti: string
  /** Authentication methods (RFC 8176). */
  readonly amr?: readonly string[]
  /** Authenticator assurance level (NIST SP 800-63B): 1 to 3. */
  readonly aal?: number
  /** When the user last proved who they are, in seconds since the epoch. */
  readonly auth_time?: number
}

export interface ClaimRules {
  readonly issuer: string
  readonly audience: readonly string[]
  /** Milliseconds that clocks may differ by. */
  readonly clockTolerance: number
}

/** The largest time that is believed, in seconds: the year 9999. Keeps `1e300` and `Infinity` out. */
const maxTime = 253_402_300_799

/**
 * Checks every claim of an access token except its times against the clock; see {@link checkTimes}.
 *
 * @throws Refusal naming the claim; its value only where it says nothing of the user.
 */
export function checkAccessClaims(claims: Record<string, unknown>, rules: ClaimRules): AccessClaims {
  if (claims['iss'] !== rules.issuer) {
    throw new Refusal(`The issuer ("iss") is ${shown(claims['iss'])}, not ${shown(rules.issuer)}.`)
  }
  const audiences = typeof claims['aud'] === 'string' ? [claims['aud']] : claims['aud']
  if (!isTextList(audiences) || !audiences.some((each) => rules.audience.includes(each))) {
    throw new Refusal(
      `The audience ("aud") is ${shown(claims['aud'])}, not ${shown(rules.audience.join(' or '))}.`,
    )
  }
  for (const name of ['sub', 'sid', 'tid', 'jti']) {
    const value = claims[name]
    if (typeof value !== 'string' || value === '') throw new Refusal(`The claim "${name}" is missing.`)
  }
  for (const name of ['exp', 'iat']) {
    if (!isTime(claims[name])) throw new Refusal(`The claim "${name}" is not a time in whole seconds.`)
  }
  for (const name of ['nbf', 'auth_time']) {
    if (claims[name] !== undefined && !isTime(claims[name])) {
      throw new Refusal(`The claim "${name}" is not a time in whole seconds.`)
    }
  }
  for (const name of ['roles', 'permissions', 'amr']) {
    if (claims[name] !== undefined && !isTextList(claims[name])) {
      throw new Refusal(`The claim "${name}" is not a list of texts.`)
    }
  }
  if (claims['aal'] !== undefined && ![1, 2, 3].includes(claims['aal'] as number)) {
    throw new Refusal('The claim "aal" is not 1, 2 or 3.')
  }
  if (
    claims['gen'] !== undefined &&
    !(Number.isSafeInteger(claims['gen']) && (claims['gen'] as number) >= 0)
  ) {
    throw new Refusal('The claim "gen" is not a count.')
  }
  checkConfirmation(claims['cnf'])
  return deepFreeze({
    ...claims,
    roles: claims['roles'] ?? [],
    permissions: claims['permissions'] ?? [],
  }) as AccessClaims
}

/** @throws Refusal when the claim is there and is not what RFC 7800 allows. */
function checkConfirmation(cnf: unknown): void {
  if (cnf === undefined) return
  if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf))
    throw new Refusal('The claim "cnf" is not an object.')
  for (const name of ['fp', 'jkt'] as const) {
    const value = (cnf as Record<string, unknown>)[name]
    if (value !== undefined && (typeof value !== 'string' || !/^[A-Za-z0-9_-]{43}$/.test(value))) {
      throw new Refusal(`The claim "cnf.${name}" is not a SHA-256 value in base64url.`)
    }
  }
}

/** Where a token stands in time. Called at every use, also of a token that was verified before. */
export function checkTimes(claims: AccessClaims, now: number, tolerance: number): 'ok' | 'expired' | 'early' {
  if (now >= claims.exp * 1_000 + tolerance) return 'expired'
  if (claims.iat * 1_000 > now + tolerance) return 'early'
  if (claims.nbf !== undefined && claims.nbf * 1_000 > now + tolerance) return 'early'
  return 'ok'
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= maxTime
}

function isTextList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}

/** A claim as a short text for a log. */
function shown(value: unknown): string {
  return String(JSON.stringify(value)).slice(0, 200)
}
