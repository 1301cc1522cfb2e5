/**
 * Headers by name. A value replaces the default of that name or adds one, `false` drops it; `false` for
 * all drops every one.
 */
export type SecurityHeaders = false | Readonly<Record<string, string | false>>

/** What an API answers with: nothing to sniff, to frame, to run or to refer from. */
export const defaultSecurityHeaders: Readonly<Record<string, string>> = Object.freeze({
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
})

/** Added in production, where a proxy in front speaks TLS. @see RFC 6797 */
export const strictTransportSecurity = 'max-age=31536000; includeSubDomains'

/** The headers as a flat list of names and values, as Node takes them. */
export function resolveSecurityHeaders(
  headers: SecurityHeaders | undefined,
  production: boolean,
): readonly string[] {
  if (headers === false) return []
  const all: Record<string, string | false> = { ...defaultSecurityHeaders }
  if (production) all['strict-transport-security'] = strictTransportSecurity
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(name)) {
      throw new TypeError(`http.securityHeaders: ${JSON.stringify(name)} is not a header name.`)
    }
    if (value !== false && (typeof value !== 'string' || /[\r\n\0]/.test(value))) {
      throw new TypeError(`http.securityHeaders: the value of "${name}" must be one line of text, or false.`)
    }
    all[name.toLowerCase()] = value
  }
  return Object.entries(all).flatMap(([name, value]) => (value === false ? [] : [name, value]))
}
