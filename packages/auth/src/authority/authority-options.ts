import { type Duration, type Logger, silentLogger } from '@quintet/core'
import { type Clock, parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import type { AuditListener } from '../audit.ts'
import type { KeyRing } from '../keys/key-ring.ts'
import type { AuthSecrets } from '../secrets.ts'
import { checkThrottle, type ThrottleOptions } from './throttle.ts'
import { defaultCommandTimeout, type SessionRedis } from '../sessions/session-redis.ts'
import type { SessionRef } from '../sessions/session-keys.ts'
import type { SessionStore } from '../sessions/session-store.ts'

/** What a user may do, read anew at each refresh. */
export interface UserRights {
  readonly roles: readonly string[]
  readonly permissions?: readonly string[]
}

export interface SessionAuthorityOptions {
  /** The client for sessions, e.g. `redisClients.client('sessions')`. It stays its owner's. */
  readonly redis: SessionRedis
  readonly keys: KeyRing
  /** Usually {@link deriveSecrets}. */
  readonly secrets: AuthSecrets
  /** The `iss` of access tokens. */
  readonly issuer: string
  /** The `aud` of access tokens. */
  readonly audience: string | readonly string[]
  /** The `client_id` of access tokens. @defaultValue `'first-party'` */
  readonly clientId?: string
  /** The life of an access token. @defaultValue `'5m'` */
  readonly accessTtl?: Duration
  /** A session that is not refreshed for so long ends. @defaultValue `'7d'` */
  readonly idle?: Duration
  /** A session ends after so long, whatever happens. @defaultValue `'30d'` */
  readonly absolute?: Duration
  /** How long a used refresh token may come back once a token of its successor was seen; until then it always may. @defaultValue `'10s'` */
  readonly grace?: Duration
  /** Beyond that the session that has not been refreshed for longest ends. @defaultValue 50 */
  readonly maxSessionsPerUser?: number
  /** Where sessions live for good. Without one Redis alone keeps them, and what Redis loses is lost. */
  readonly store?: SessionStore
  /** Reads the user's rights at each refresh; null ends the session. Without it a session keeps those of the sign-in. */
  readonly loadUser?: (session: SessionRef) => Promise<UserRights | null>
  readonly throttle?: ThrottleOptions
  /** Deletes sessions from the store that ended so long ago, looked at once an hour; `false` for never. @defaultValue `'30d'` */
  readonly pruneAfter?: Duration | false
  readonly audit?: AuditListener
  readonly logger?: Logger
  /** How long Redis may take for one step. @defaultValue 400 */
  readonly commandTimeout?: Duration
  /** For tests. The clock of Redis and of this process otherwise. */
  readonly clock?: Clock
}

export const sessionAuthorityDefaults: Readonly<{
  clientId: string
  accessTtl: Duration
  idle: Duration
  absolute: Duration
  grace: Duration
  maxSessionsPerUser: number
  pruneAfter: Duration
  commandTimeout: Duration
}> = Object.freeze({
  clientId: 'first-party',
  accessTtl: '5m',
  idle: '7d',
  absolute: '30d',
  grace: '10s',
  maxSessionsPerUser: 50,
  pruneAfter: '30d',
  commandTimeout: defaultCommandTimeout,
})

const knownKeys = [
  'redis',
  'keys',
  'secrets',
  'issuer',
  'audience',
  'clientId',
  'accessTtl',
  'idle',
  'absolute',
  'grace',
  'maxSessionsPerUser',
  'store',
  'loadUser',
  'throttle',
  'pruneAfter',
  'audit',
  'logger',
  'commandTimeout',
  'clock',
]

/** How far beyond the life of an access token tombstones and keys stay: clock skew and the longest re-warm. */
const margin = 60_000

export interface ResolvedAuthorityOptions {
  readonly clientId: string
  readonly accessTtl: number
  readonly idle: number
  readonly absolute: number
  readonly grace: number
  readonly maxSessionsPerUser: number
  readonly tombstoneTtl: number
  readonly pruneAfter: number | undefined
  readonly pruneInterval: number
  readonly logger: Logger
}

const path = 'createSessionAuthority'

export function resolveAuthorityOptions(options: SessionAuthorityOptions): ResolvedAuthorityOptions {
  refuseUnknownKeys(options, knownKeys, path)
  if (options.throttle !== undefined) checkThrottle(options.throttle)
  for (const name of ['audit', 'loadUser'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function')
      throw new TypeError(`${path}.${name}: give a function.`)
  }
  for (const name of [
    'create',
    'find',
    'rotate',
    'revoke',
    'revokeAll',
    'list',
    'recentlyRevoked',
  ] as const) {
    if (options.store !== undefined && typeof options.store[name] !== 'function')
      throw new TypeError(`${path}.store: has no ${name}().`)
  }
  if (typeof options.keys?.signer !== 'function') throw new TypeError(`${path}.keys: give a key ring.`)
  if (typeof options.issuer !== 'string' || options.issuer === '')
    throw new TypeError(`${path}.issuer: is missing.`)
  const audience = typeof options.audience === 'string' ? [options.audience] : (options.audience ?? [])
  if (audience.length === 0 || audience.includes(''))
    throw new TypeError(`${path}.audience: name at least one.`)
  const duration = (name: 'accessTtl' | 'idle' | 'absolute' | 'grace', least: number): number => {
    const ms = parseDuration(options[name] ?? sessionAuthorityDefaults[name], `${path}.${name}`)
    if (ms < least) throw new TypeError(`${path}.${name}: needs at least ${least} ms.`)
    return Math.floor(ms)
  }
  const maxSessionsPerUser = options.maxSessionsPerUser ?? sessionAuthorityDefaults.maxSessionsPerUser
  if (!Number.isSafeInteger(maxSessionsPerUser) || maxSessionsPerUser < 1 || maxSessionsPerUser > 1_000) {
    throw new TypeError(`${path}.maxSessionsPerUser: ${maxSessionsPerUser} is not a number from 1 to 1000.`)
  }
  const accessTtl = duration('accessTtl', 1_000)
  return {
    clientId: options.clientId ?? sessionAuthorityDefaults.clientId,
    accessTtl,
    idle: duration('idle', 1_000),
    absolute: duration('absolute', 1_000),
    grace: duration('grace', 0),
    maxSessionsPerUser,
    tombstoneTtl: accessTtl + margin,
    pruneAfter:
      options.pruneAfter === false
        ? undefined
        : parseDuration(options.pruneAfter ?? sessionAuthorityDefaults.pruneAfter, `${path}.pruneAfter`),
    pruneInterval: 3_600_000,
    logger: options.logger ?? silentLogger,
  }
}
