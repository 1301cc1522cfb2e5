import { parseStrictJson } from '@quintet/core/kit'
import { serverError } from './errors.ts'

/**
 * Parses JSON that a caller sent, strictly.
 *
 * @throws QuintetError `ERR_SERVER_BODY_INVALID`.
 */
export function parseJson(source: Uint8Array | string): unknown {
  try {
    return parseStrictJson(source)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw serverError('ERR_SERVER_BODY_INVALID', `The body ${error.message}.`, { cause: error })
  }
}
