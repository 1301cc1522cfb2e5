import { option, readOptions } from '@quintet/core/kit'

/** `'issuer'` for the app that has the authority, `'verifier'` for all others. */
export type SessionRedisRole = 'verifier' | 'issuer'

export interface SessionRedisAclOptions {
  /** The key prefix of the client. @defaultValue none */
  readonly prefix?: string
  /** For managers with `freshness: 'tracked'`. @defaultValue false */
  readonly tracked?: boolean
}

const spec = {
  // What has a meaning in a pattern would permit more than the prefix.
  prefix: option.text('', {
    pattern: /^[^\s*?[\]\\]*$/,
    expected: 'a plain text, without blanks and *?[]\\',
  }),
  tracked: option.boolean(false),
}

/** What a client of ioredis needs to connect, and `createRedisClients` of `@quintet/redis` to check the server. */
const connecting = ['ping', 'info', 'select', 'client|setname', 'client|id']

/** The commands that clients send, and those that their scripts run: Redis asks for both. */
const commands: Readonly<Record<SessionRedisRole, readonly string[]>> = {
  verifier: ['hmget', 'eval', 'evalsha', 'time', 'hget', 'hset', 'pttl', 'pexpire', 'get', 'set'],
  issuer: [
    ...[
      'hmget',
      'eval',
      'evalsha',
      'time',
      'hget',
      'hset',
      'hgetall',
      'pttl',
      'pexpire',
      'set',
      'get',
      'del',
    ],
    ...['zadd', 'zrem', 'zcard', 'zrange', 'zrangebyscore', 'zremrangebyscore'],
  ],
}

/** Sessions are only read by a verifier; it notes their use and used proofs of possession beside them. */
const keys: Readonly<
  Record<SessionRedisRole, readonly (readonly [permission: '~' | '%R~', name: string])[]>
> = {
  verifier: [
    ['%R~', 's:'],
    ['%R~', 'e:'],
    ['~', 'seen:'],
    ['~', 'dpop:'],
  ],
  issuer: [
    ['~', 's:'],
    ['~', 'u:'],
    ['~', 'e:'],
    ['~', 'seen:'],
    ['~', 'dpop:'],
  ],
}

/**
 * The least rights of a Redis user for sessions, as rules of `ACL SETUSER`. Add `on` and a password.
 *
 * @example
 * await redis.call('ACL', 'SETUSER', 'media', 'reset', 'on', `>${password}`, ...sessionRedisAcl('verifier'))
 */
export function sessionRedisAcl(
  role: SessionRedisRole,
  options: SessionRedisAclOptions = {},
): readonly string[] {
  const { prefix, tracked } = readOptions<SessionRedisAclOptions, typeof spec>(
    options,
    spec,
    'sessionRedisAcl',
  )
  if (!Object.hasOwn(commands, role))
    throw new TypeError(`sessionRedisAcl: ${JSON.stringify(role)} must be 'verifier' or 'issuer'.`)
  return [
    ...keys[role].map(([permission, name]) => `${permission}${prefix}${name}*`),
    ...[...connecting, ...commands[role]].map((command) => `+${command}`),
    ...(tracked ? ['+client|tracking', '+subscribe', '&__redis__:invalidate'] : []),
  ]
}
