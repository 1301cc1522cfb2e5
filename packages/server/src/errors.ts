import { type ErrorKind, QuintetError, type QuintetErrorOptions } from '@quintet/core/client'

/** The codes that this package throws itself. */
export type ServerErrorCode =
  | 'ERR_SERVER_BAD_REQUEST'
  | 'ERR_SERVER_BATCH_TOO_LARGE'
  | 'ERR_SERVER_BODY_INVALID'
  | 'ERR_SERVER_CLOSED'
  | 'ERR_SERVER_CODING_UNSUPPORTED'
  | 'ERR_SERVER_CONNECT_FAILED'
  | 'ERR_SERVER_CONNECTION_LIMIT'
  | 'ERR_SERVER_EXPECTATION_FAILED'
  | 'ERR_SERVER_HEADERS_TOO_LARGE'
  | 'ERR_SERVER_MEDIA_TYPE_UNSUPPORTED'
  | 'ERR_SERVER_METHOD_NOT_ALLOWED'
  | 'ERR_SERVER_METHOD_UNKNOWN'
  | 'ERR_SERVER_MODE_MISMATCH'
  | 'ERR_SERVER_NOT_FOUND'
  | 'ERR_SERVER_ORIGIN_REFUSED'
  | 'ERR_SERVER_PROTOCOL_UNSUPPORTED'
  | 'ERR_SERVER_REQUEST_TIMEOUT'
  | 'ERR_SERVER_RESPONSE_INVALID'
  | 'ERR_SERVER_SCHEME_UNSUPPORTED'
  | 'ERR_SERVER_TOKEN_FAILED'
  | 'ERR_SERVER_TOO_LARGE'

const kinds: Readonly<Record<ServerErrorCode, ErrorKind>> = {
  ERR_SERVER_BAD_REQUEST: 'invalid-input',
  ERR_SERVER_BATCH_TOO_LARGE: 'too-large',
  ERR_SERVER_BODY_INVALID: 'invalid-input',
  ERR_SERVER_CLOSED: 'closed',
  ERR_SERVER_CODING_UNSUPPORTED: 'unsupported',
  ERR_SERVER_CONNECT_FAILED: 'unavailable',
  ERR_SERVER_CONNECTION_LIMIT: 'unavailable',
  ERR_SERVER_EXPECTATION_FAILED: 'unsupported',
  ERR_SERVER_HEADERS_TOO_LARGE: 'too-large',
  ERR_SERVER_MEDIA_TYPE_UNSUPPORTED: 'unsupported',
  ERR_SERVER_METHOD_NOT_ALLOWED: 'unsupported',
  ERR_SERVER_METHOD_UNKNOWN: 'unsupported',
  ERR_SERVER_MODE_MISMATCH: 'invalid-input',
  ERR_SERVER_NOT_FOUND: 'not-found',
  ERR_SERVER_ORIGIN_REFUSED: 'forbidden',
  ERR_SERVER_PROTOCOL_UNSUPPORTED: 'unsupported',
  ERR_SERVER_REQUEST_TIMEOUT: 'timeout',
  ERR_SERVER_RESPONSE_INVALID: 'unavailable',
  ERR_SERVER_SCHEME_UNSUPPORTED: 'unauthenticated',
  ERR_SERVER_TOKEN_FAILED: 'unauthenticated',
  ERR_SERVER_TOO_LARGE: 'too-large',
}

/** Every code of this package. */
export const serverErrorCodes: readonly ServerErrorCode[] = Object.freeze(
  Object.keys(kinds) as ServerErrorCode[],
)

/** Makes an error of this package; each code has one kind. */
export function serverError(
  code: ServerErrorCode,
  message: string,
  extra: Omit<QuintetErrorOptions<ServerErrorCode>, 'code' | 'kind'> = {},
): QuintetError<ServerErrorCode> {
  return new QuintetError(message, { ...extra, code, kind: kinds[code] })
}
