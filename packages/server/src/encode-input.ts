import { serverError } from './errors.ts'

/**
 * Serialises the message of a call as JSON.
 *
 * @throws QuintetError `ERR_SERVER_BODY_INVALID` for what JSON cannot hold, e.g. a BigInt or a cycle.
 */
export function encodeInput(message: unknown): string {
  try {
    return JSON.stringify(message)
  } catch (error) {
    throw notEncodable(error)
  }
}

/** The error of a call whose input cannot be serialised. */
export function notEncodable(error: unknown): Error {
  const reason = error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : String(error)
  return serverError('ERR_SERVER_BODY_INVALID', `The input cannot be sent as JSON: ${reason}.`, {
    cause: error,
  })
}
