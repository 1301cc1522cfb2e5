import { AuthError } from '../errors.ts'
import type { RequestFacts } from './request-facts.ts'

/**
 * Every value that a cookie of this name was sent with. Only spaces and tabs are stripped, as browsers do: any other
 * white space is part of a name, which then has no `__Host-` before it that a browser would have looked after.
 *
 * @see RFC 6265bis section 5.6
 */
export function cookieValues(request: RequestFacts, name: string): readonly string[] {
  return request
    .header('cookie')
    .flatMap((line) => line.split(';'))
    .map((pair) => pair.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1))
}

/**
 * The value of a cookie; undefined when it was not sent.
 *
 * @throws AuthError `ERR_AUTH_CREDENTIALS_AMBIGUOUS` when it was sent twice, which cookie tossing does.
 */
export function readCookie(request: RequestFacts, name: string): string | undefined {
  const values = cookieValues(request, name)
  if (values.length > 1) throw new AuthError('ERR_AUTH_CREDENTIALS_AMBIGUOUS')
  return values[0]
}

export interface CookieAttributes {
  readonly path: string
  readonly httpOnly: boolean
  readonly sameSite: 'Lax' | 'Strict'
  /** Seconds; 0 deletes the cookie. */
  readonly maxAge: number
}

/** A `Set-Cookie` value. Always `Secure`. */
export function formatCookie(name: string, value: string, attributes: CookieAttributes): string {
  const { path, httpOnly, sameSite, maxAge } = attributes
  return `${name}=${value}; Path=${path}; Max-Age=${maxAge}; Secure${httpOnly ? '; HttpOnly' : ''}; SameSite=${sameSite}`
}
