/**
 * Headers by name. A value replaces the default of that name or adds one, `false` drops it; `false` for
 * all drops every one.
 */
export type SecurityHeaders = false | Readonly<Record<string, string | false>>

/** What every answer carries: nothing to sniff, nothing to refer from. */
export const defaultSecurityHeaders: Readonly<Record<string, string>> = Object.freeze({
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
})

/** What an API answers with besides: nothing to frame, nothing to run. */
export const apiSecurityHeaders: Readonly<Record<string, string>> = Object.freeze({
  ...defaultSecurityHeaders,
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
})

/** Tells browsers to come back by TLS alone, for a year. @see RFC 6797 */
export const strictTransportSecurity = 'max-age=31536000; includeSubDomains'

/**
 * The headers over their defaults, as a flat list of names and values, as Node takes them.
 *
 * @throws TypeError for what is no name or no value of a header.
 */
export function resolveSecurityHeaders(
  headers: SecurityHeaders | undefined,
  defaults: Readonly<Record<string, string>>,
  path: string,
): readonly string[] {
  if (headers === false) return []
  const all: Record<string, string | false> = { ...defaults }
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(name)) {
      throw new TypeError(`${path}: ${JSON.stringify(name)} is not a header name.`)
    }
    // Node refuses to write anything else, and would do so for every request.
    if (value !== false && (typeof value !== 'string' || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value))) {
      throw new TypeError(`${path}: the value of "${name}" must be one line of text, or false.`)
    }
    all[name.toLowerCase()] = value
  }
  return Object.entries(all).flatMap(([name, value]) => (value === false ? [] : [name, value]))
}
