import type { KeyObject } from 'node:crypto'
import type { Duration, Logger } from '@quintet/core'
import { type Clock, option, readOptions, type ResolvedOptions } from '@quintet/core/kit'
import type { AuditListener } from '../audit.ts'
import type { KeyRing } from '../keys/key-ring.ts'
import { secretKey, type AuthSecrets } from '../secrets.ts'
import type { SessionRef } from '../sessions/session-keys.ts'
import {
  defaultCommandTimeout,
  sendsAgain,
  sessionRedisOption,
  type SessionRedis,
} from '../sessions/session-redis.ts'
import type { SessionStore } from '../sessions/session-store.ts'
import { RefreshTokenCodec } from './refresh-token.ts'
import { DeviceTokens, throttleSpec, type ThrottleOptions } from './throttle.ts'

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

/** How far beyond the life of an access token tombstones and keys stay: clock skew and the longest re-warm. */
const margin = 60_000

const storeMethods = [
  'create',
  'epochOf',
  'find',
  'rotate',
  'revoke',
  'revokeAll',
  'revokeWithin',
  'erase',
  'list',
  'recentlyRevoked',
] as const

const defaults = sessionAuthorityDefaults

const spec = {
  redis: sessionRedisOption(),
  keys: option.collaborator<KeyRing>(['signer', 'retainAtLeast'], 'a key ring'),
  secrets: option.parsed('the secrets of an authority, e.g. deriveSecrets(root)', readSecrets),
  issuer: option.text(),
  audience: option.either(option.text(), option.list(option.text(), { min: 1 })),
  clientId: option.text(defaults.clientId),
  accessTtl: option.duration(defaults.accessTtl, { min: '1s' }).map(Math.floor),
  idle: option.duration(defaults.idle, { min: '1s' }).map(Math.floor),
  absolute: option.duration(defaults.absolute, { min: '1s' }).map(Math.floor),
  grace: option.duration(defaults.grace).map(Math.floor),
  maxSessionsPerUser: option.count(defaults.maxSessionsPerUser, { min: 1, max: 1_000 }),
  store: option.collaborator<SessionStore>(storeMethods, 'a session store').optional(),
  loadUser: option.function<NonNullable<SessionAuthorityOptions['loadUser']>>().optional(),
  throttle: option.parsed('options of the throttle', readThrottle).optional(),
  pruneAfter: option.duration(defaults.pruneAfter).orFalse(),
  audit: option.function<AuditListener>().optional(),
  logger: option.logger(),
  commandTimeout: option.delay(defaults.commandTimeout, { min: 1 }),
  clock: option.clock().optional(),
}

/** The keys that the secrets of an authority are made into. */
export interface AuthorityKeys {
  readonly codec: RefreshTokenCodec
  readonly devices: DeviceTokens
  readonly binding: KeyObject
}

export type ResolvedAuthorityOptions = ResolvedOptions<typeof spec> & {
  /** How long what has ended is remembered in Redis, in milliseconds. */
  readonly tombstoneTtl: number
}

/** @throws TypeError naming every option that is unknown or makes no sense. */
export function resolveAuthorityOptions(options: SessionAuthorityOptions): ResolvedAuthorityOptions {
  const read = readOptions<SessionAuthorityOptions, typeof spec>(options, spec, 'createSessionAuthority', {
    check({ redis }, note) {
      if (!sendsAgain(redis)) return
      note(
        'redis',
        'this client sends commands again after a lost connection. Make it with maxRetriesPerRequest: 0, as createRedisClients of @quintet/redis does.',
      )
    },
  })
  return { ...read, tombstoneTtl: read.accessTtl + margin }
}

function readSecrets(given: unknown, path: string): AuthorityKeys {
  if (typeof given !== 'object' || given === null) throw new TypeError(`${path}: give the secrets.`)
  const secrets = given as AuthSecrets
  const all = [secrets, ...(secrets.previous ?? [])]
  return {
    codec: new RefreshTokenCodec(secrets, path),
    devices: new DeviceTokens(all.map(({ refreshMac }) => secretKey(refreshMac, `${path}.refreshMac`))),
    binding: secretKey(secrets.cnf, `${path}.cnf`),
  }
}

function readThrottle(given: unknown, path: string): ResolvedOptions<typeof throttleSpec> {
  return readOptions<ThrottleOptions, typeof throttleSpec>(given as ThrottleOptions, throttleSpec, path)
}
