import { serverError } from './errors.ts'

/**
 * Serialises the input of a call as JSON; undefined for what JSON leaves out.
 *
 * @throws QuintetError `ERR_SERVER_BODY_INVALID` for what JSON cannot hold, e.g. a BigInt or a cycle.
 */
export function encodeInput(input: unknown): string | undefined {
  try {
    return JSON.stringify(input)
  } catch (error) {
    throw notEncodable(error)
  }
}

/** As {@link encodeInput}, for a message that has the input in it. */
export function encodeMessage(message: object): string {
  return encodeInput(message) as string
}

/** The error of a call whose input cannot be serialised. */
export function notEncodable(error: unknown): Error {
  const reason = error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : String(error)
  return serverError('ERR_SERVER_BODY_INVALID', `The input cannot be sent as JSON: ${reason}.`, {
    cause: error,
  })
}
