import { randomBytes } from 'node:crypto'
import { type Clock, option, readOptions, safeEqual } from '@quintet/core/kit'
import { AuthError, Refusal } from '../errors.ts'
import { hmac, secretKeyOption, type SecretInput } from '../secrets.ts'
import { generationOf, sessionIdOf } from '../authority/refresh-token.ts'
import type { SessionTokens } from '../authority/session-authority.ts'
import { cookieValues, formatCookie, readCookie } from './cookies.ts'
import type { RequestFacts } from './request-facts.ts'

export interface SessionCookiesOptions {
  /** Signs CSRF tokens, e.g. `deriveSecrets(root).csrf`. Every app that takes cookies needs it. */
  readonly csrfSecret: SecretInput
  /** Former ones, e.g. `secrets.previous.map(({ csrf }) => csrf)`: cookies signed with them go on working. @defaultValue none */
  readonly previousSecrets?: readonly SecretInput[]
  /** The only path that the refresh token is sent to. @defaultValue `'/auth/refresh'` */
  readonly refreshPath?: string
  /**
   * Where it was sent to before: browsers send what they still have of those beside the new one until `set` or `clear`
   * takes it away.
   * @defaultValue none
   */
  readonly formerRefreshPaths?: readonly string[]
  /** Origins whose pages may open WebSockets with the cookie; without any, none may. @defaultValue none */
  readonly origins?: readonly string[]
  readonly clock?: Clock
}

export const sessionCookiesDefaults: Readonly<{ refreshPath: string }> = Object.freeze({
  refreshPath: '/auth/refresh',
})

/**
 * The names of the cookies. `__Host-` binds them to this host and to TLS (RFC 6265bis); the refresh cookie, which is
 * bound to a path as well, is held against the CSRF cookie.
 */
export const cookieNames: Readonly<{ access: string; refresh: string; csrf: string; device: string }> =
  Object.freeze({
    access: '__Host-access',
    refresh: '__Secure-refresh',
    csrf: '__Host-csrf',
    device: '__Host-device',
  })

/** The header in which a page repeats its CSRF cookie. */
export const csrfHeader = 'x-csrf-token'

/** Carries tokens in cookies, with a signed double submit against cross-site requests. */
export interface SessionCookies {
  /** The `Set-Cookie` values after a sign-in or a refresh. */
  set(tokens: SessionTokens): readonly string[]
  /** Those after a sign-out. */
  clear(): readonly string[]
  /** The `Set-Cookie` value by which a device is known at its next sign-in: what `succeeded()` of an attempt gave. */
  setDevice(deviceToken: string): string
  /** The device token of a request, if it has one, for `admitSignIn`. */
  deviceToken(request: RequestFacts): string | undefined
  /** The access token of a request, if it has one. */
  accessToken(request: RequestFacts): string | undefined
  /**
   * The refresh token of a request, if it has one; of several the newest. Of the session that the CSRF cookie is for:
   * that one cannot be set from a subdomain, as a cookie that is bound to a path can.
   *
   * @throws AuthError `ERR_AUTH_CSRF_REFUSED` when there are only others
   */
  refreshToken(request: RequestFacts): string | undefined
  /**
   * Holds a request to the CSRF rules: anything but GET, HEAD and OPTIONS repeats the CSRF cookie in the header
   * `x-csrf-token`; a WebSocket handshake comes from a known origin.
   *
   * @throws AuthError `ERR_AUTH_CSRF_REFUSED`
   */
  assertSameSite(request: RequestFacts, sessionId: string): void
}

/** A year, in seconds. It outlives sessions: that is what it is for. */
const deviceMaxAge = 365 * 86_400

const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

const plainPath = { pattern: /^\/[A-Za-z0-9/_.-]*$/, expected: 'a plain path such as "/auth/refresh"' }

const spec = {
  csrfSecret: secretKeyOption(),
  previousSecrets: option.list(secretKeyOption()),
  refreshPath: option.text(sessionCookiesDefaults.refreshPath, plainPath),
  formerRefreshPaths: option.list(option.text(undefined, plainPath)),
  origins: option.list(option.url(undefined, { origin: true }).map((url) => url.origin)),
  clock: option.clock(),
}

/**
 * Makes the cookies of an app, for its routes and its adapters alike.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * const cookies = createSessionCookies({ csrfSecret: secrets.csrf, origins: ['https://app.example.com'] })
 */
export function createSessionCookies(options: SessionCookiesOptions): SessionCookies {
  const read = readOptions<SessionCookiesOptions, typeof spec>(options, spec, 'createSessionCookies')
  const { csrfSecret, previousSecrets, refreshPath, formerRefreshPaths, clock } = read
  const origins = new Set(read.origins)
  const sign = (sessionId: string, random: string, key = csrfSecret): string =>
    hmac(key, `${sessionId}|${random}`).toString('base64url')

  const removeRefreshAt = (path: string): string =>
    formatCookie(cookieNames.refresh, '', { path, httpOnly: true, sameSite: 'Strict', maxAge: 0 })

  function isSigned(token: string, sessionId: string): boolean {
    const [random = '', mac = ''] = token.split('.')
    return [csrfSecret, ...previousSecrets].some((key) => safeEqual(mac, sign(sessionId, random, key)))
  }

  return {
    set({ accessToken, refreshToken, expiresIn, session }) {
      const lasts = Math.max(0, Math.floor((session.expiresAt - clock.now()) / 1_000))
      const random = randomBytes(16).toString('base64url')
      const csrf = `${random}.${sign(session.sessionId, random)}`
      return [
        formatCookie(cookieNames.access, accessToken, {
          path: '/',
          httpOnly: true,
          sameSite: 'Lax',
          maxAge: expiresIn,
        }),
        formatCookie(cookieNames.refresh, refreshToken, {
          path: refreshPath,
          httpOnly: true,
          sameSite: 'Strict',
          maxAge: lasts,
        }),
        formatCookie(cookieNames.csrf, csrf, {
          path: '/',
          httpOnly: false,
          sameSite: 'Strict',
          maxAge: lasts,
        }),
        ...formerRefreshPaths.map(removeRefreshAt),
      ]
    },
    clear() {
      return [
        formatCookie(cookieNames.access, '', { path: '/', httpOnly: true, sameSite: 'Lax', maxAge: 0 }),
        ...[refreshPath, ...formerRefreshPaths].map(removeRefreshAt),
        formatCookie(cookieNames.csrf, '', { path: '/', httpOnly: false, sameSite: 'Strict', maxAge: 0 }),
      ]
    },
    setDevice: (deviceToken) =>
      formatCookie(cookieNames.device, deviceToken, {
        path: '/',
        httpOnly: true,
        sameSite: 'Strict',
        maxAge: deviceMaxAge,
      }),
    deviceToken: (request) => readCookie(request, cookieNames.device),
    accessToken: (request) => readCookie(request, cookieNames.access),
    refreshToken(request) {
      const tokens = cookieValues(request, cookieNames.refresh)
      if (tokens.length === 0) return undefined
      const csrf = readCookie(request, cookieNames.csrf) ?? ''
      const own = tokens.filter((token) => isSigned(csrf, sessionIdOf(token)))
      // Of a path that was another one before, a browser may still have the former cookie.
      const [newest] = own.toSorted((a, b) => generationOf(b) - generationOf(a))
      if (newest !== undefined) return newest
      throw new AuthError('ERR_AUTH_CSRF_REFUSED', {
        cause: new Refusal('The refresh cookie is not of the session of the CSRF cookie.'),
      })
    },
    assertSameSite(request, sessionId) {
      if (request.upgrade) {
        const [origin = ''] = request.header('origin')
        if (request.header('origin').length !== 1 || !origins.has(origin)) {
          throw new AuthError('ERR_AUTH_CSRF_REFUSED', {
            cause: new Refusal('The handshake is from another origin.'),
          })
        }
        return
      }
      if (safeMethods.has(request.method)) return
      const cookie = readCookie(request, cookieNames.csrf)
      const [given, ...more] = request.header(csrfHeader)
      const agrees =
        cookie !== undefined && given !== undefined && more.length === 0 && safeEqual(cookie, given)
      if (agrees && isSigned(cookie, sessionId)) return
      throw new AuthError('ERR_AUTH_CSRF_REFUSED')
    },
  }
}
