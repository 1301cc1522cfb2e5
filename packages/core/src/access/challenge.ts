import type { QuintetError } from '../errors.ts'
import type { Credentials } from './credentials.ts'

/** Headers that tell a refused caller which credentials are wanted, by lower-case names. */
export type Challenge = Readonly<Record<string, string>>

const unquotable = /[^\x20-\x7e]|["\\]/g
/** Headers are bounded in total, by clients and by proxies; the whole message stands in the problem document. */
const maxDescription = 200

/**
 * The challenge for bearer tokens, of a server whose auth manager brings none of its own: of a 401, and nothing else.
 *
 * @see RFC 6750 section 3: no error is named to a caller that gave no credentials.
 */
export function bearerChallenge(
  { kind, message }: Pick<QuintetError, 'kind' | 'message'>,
  presented: Credentials['scheme'],
): Challenge {
  if (kind !== 'unauthenticated') return {}
  if (presented === 'none') return { 'www-authenticate': 'Bearer' }
  const description = message.slice(0, maxDescription).replace(unquotable, ' ')
  return { 'www-authenticate': `Bearer error="invalid_token", error_description="${description}"` }
}
