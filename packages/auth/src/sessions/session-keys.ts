/** What names a session: without all three there is no key to find it by. */
export interface SessionRef {
  readonly tenantId: string
  readonly userId: string
  readonly sessionId: string
}

/** All sessions of one user of one tenant. */
export interface UserRef {
  readonly tenantId: string
  readonly userId: string
}

const plain = /^[A-Za-z0-9._@-]+$/
/** Long enough for a URI, and short enough that two of them fit into every token. */
const maxIdBytes = 200
const control = /\p{Cc}/u

/** True for text that PostgreSQL and Redis keep alike: well-formed, and without control characters. */
export function isPlainText(text: string): boolean {
  return plain.test(text) || (text.isWellFormed() && !control.test(text))
}

/** What {@link sessionKey} begins with; the prefix to track. */
export const sessionKeyPrefix = 's:'

/**
 * True for the id of a tenant or a user: 1 to 200 bytes of UTF-8 without control characters. Half a surrogate pair is
 * no text: all of them are one byte sequence, and so would be one user.
 */
export function isId(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value !== '' &&
    value.length <= maxIdBytes &&
    (plain.test(value) || (isPlainText(value) && Buffer.byteLength(value) <= maxIdBytes))
  )
}

/** True for the id of a session: one that is the same in keys, indexes and tokens. */
export function isSessionId(value: unknown): value is string {
  return typeof value === 'string' && value.length <= maxIdBytes && plain.test(value)
}

/** @throws TypeError when it is not the id of a tenant or a user. */
export function assertId(value: unknown, path: string): asserts value is string {
  if (isId(value)) return
  throw new TypeError(`${path}: give a text of 1 to ${maxIdBytes} bytes (UTF-8) without control characters.`)
}

/** @throws TypeError when it is not the id of a session. */
export function assertSessionId(value: unknown, path: string): asserts value is string {
  if (!isSessionId(value)) throw new TypeError(`${path}: is not the id of a session.`)
}

/** One spelling of an id in keys and tokens that is free of braces, colons and tildes: percent-encoded UTF-8. */
export function escapeId(id: string): string {
  if (typeof id !== 'string') throw new TypeError('The id of a tenant or a user is no text.')
  if (plain.test(id)) return id
  let escaped = ''
  for (const byte of Buffer.from(id, 'utf8')) {
    const character = String.fromCharCode(byte)
    escaped += plain.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return escaped
}

/** The reverse of {@link escapeId}; undefined when the text is no such spelling. */
export function unescapeId(escaped: string): string | undefined {
  try {
    const id = decodeURIComponent(escaped)
    return isId(id) && escapeId(id) === escaped ? id : undefined
  } catch {
    return undefined
  }
}

/** One hash tag per user of a tenant, so that scripts over their sessions stay in one slot of a cluster. */
function tag({ tenantId, userId }: UserRef): string {
  return `{${escapeId(tenantId)}:${escapeId(userId)}}`
}

/** The hash of a session. */
export function sessionKey(ref: SessionRef): string {
  return `${sessionKeyPrefix}${tag(ref)}:${ref.sessionId}`
}

/** The sorted set of a user's sessions, by expiry. */
export function indexKey(user: UserRef): string {
  return `u:${tag(user)}`
}

/** The number that each "log out everywhere" raises. */
export function epochKey(user: UserRef): string {
  return `e:${tag(user)}`
}

/** When the session was last used. Not in the hash, whose every write is an invalidation. */
export function seenKey(ref: SessionRef): string {
  return `seen:${tag(ref)}:${ref.sessionId}`
}
