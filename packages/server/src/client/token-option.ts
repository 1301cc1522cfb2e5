import { isQuintetError, option, orAborted } from '@quintet/core/client'
import { serverError } from '../errors.ts'

/** A bearer token, or what gives one each time that it is needed. */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>)

/** The option `token` of a link; undefined where it is not given. */
export function tokenOption() {
  const giver = option.function<Exclude<TokenSource, string>>()
  return option.either(option.text(), giver).optional()
}

/** What a bearer token may hold (RFC 6750, section 2.1). */
const tokenPattern = /^[\w\-.~+/]+=*$/

/**
 * The token to send now; undefined for none.
 *
 * @throws QuintetError `ERR_SERVER_TOKEN_FAILED` when there is none to be had; the signal's reason when it aborts first.
 */
export async function takeToken(
  source: TokenSource | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (typeof source !== 'function') return checked(source)
  let given: string | undefined
  try {
    given = await orAborted(source(), signal)
  } catch (error) {
    // A QuintetError of the source says best what the matter is.
    if (signal.aborted || isQuintetError(error)) throw error
    throw serverError('ERR_SERVER_TOKEN_FAILED', 'The token function failed.', { cause: error })
  }
  return checked(given)
}

function checked(token: string | undefined): string | undefined {
  if (token === undefined || (typeof token === 'string' && tokenPattern.test(token))) return token
  throw serverError('ERR_SERVER_TOKEN_FAILED', 'The token is not one that a header can carry.')
}
