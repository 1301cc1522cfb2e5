import type { Duration, Logger } from '@quintet/core'
import { type Clock, parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import type { AuditListener } from '../audit.ts'
import type { DpopOptions } from '../dpop/dpop-verifier.ts'
import type { SecretInput } from '../secrets.ts'
import { defaultCommandTimeout, type SessionRedis } from '../sessions/session-redis.ts'
import type { SessionLookup } from '../sessions/session-warmer.ts'
import {
  createTokenVerifier,
  tokenVerifierKeys,
  type TokenVerifier,
  type TokenVerifierOptions,
} from '../tokens/token-verifier.ts'
import type { SessionSnapshot } from './session-snapshot.ts'

export interface BindingOptions {
  /** The cnf secret of the issuer: `deriveSecrets(root).cnf`. It is not the signing key. */
  readonly secret: SecretInput
  /** Former secrets, accepted until the last access token that they bound has expired. */
  readonly previousSecrets?: readonly SecretInput[]
  /** How long the access token of the generation before is accepted after a refresh. @defaultValue 0 */
  readonly grace?: Duration
}

/** The part of a tracked cache that is needed; `createTrackedCache` of `@quintet/redis` fits. */
export interface TrackedSessions {
  get(key: string): Promise<SessionSnapshot | undefined>
  peek(key: string): SessionSnapshot | undefined
  onInvalidate(listener: (key: string | null) => void): Disposable
  whenTrusted(signal?: AbortSignal): Promise<void>
  close(): Promise<void>
}

/** Makes the tracked cache, e.g. `(options) => createTrackedCache({ client: sessionRedis, ...options })`. */
export type TrackSessions = (options: {
  readonly prefix: string
  readonly load: (key: string) => Promise<SessionSnapshot | undefined>
}) => TrackedSessions

interface ManagerOptions {
  readonly logger: Logger
  /** The client for sessions. It stays its owner's. */
  readonly sessionRedis: SessionRedis
  /** Binds access tokens to a refresh generation; a token without binding is then refused. `false` switches it off. */
  readonly cnf: BindingOptions | false
  /** Brings sessions back that Redis has lost. Only the auth app has it; others answer `ERR_AUTH_SESSION_COLD`. */
  readonly sessionLookup?: SessionLookup
  /**
   * `'strict'` reads the session at every call. `'tracked'` keeps sessions in memory as long as Redis vouches for
   * them, which needs {@link track}.
   * @defaultValue `'strict'`
   */
  readonly freshness?: 'strict' | 'tracked'
  readonly track?: TrackSessions
  /** How often a session in use is marked as seen; `false` for never. @defaultValue `'1m'` */
  readonly lastSeen?: Duration | false
  /** How often the session behind an open connection is looked at, beside what tracking tells. @defaultValue `'5s'` */
  readonly watchInterval?: Duration
  readonly dpop?: DpopOptions
  readonly audit?: AuditListener
  /** How long Redis may take for one step. @defaultValue 400 */
  readonly commandTimeout?: Duration
  readonly clock?: Clock
}

/** With the issuer's keys, or with a verifier that has been made before. */
export type JwtAuthManagerOptions = ManagerOptions &
  (
    | (Omit<TokenVerifierOptions, 'clock'> & { readonly jwt?: never })
    | {
        readonly jwt: TokenVerifier
        readonly keys?: never
        readonly issuer?: never
        readonly audience?: never
      }
  )

export const jwtAuthManagerDefaults: Readonly<{
  freshness: 'strict'
  lastSeen: Duration
  watchInterval: Duration
  commandTimeout: Duration
  cnfGrace: Duration
}> = Object.freeze({
  freshness: 'strict',
  lastSeen: '1m',
  watchInterval: '5s',
  commandTimeout: defaultCommandTimeout,
  cnfGrace: 0,
})

const ownKeys = [
  'logger',
  'sessionRedis',
  'cnf',
  'sessionLookup',
  'freshness',
  'track',
  'lastSeen',
  'watchInterval',
  'dpop',
  'audit',
  'commandTimeout',
  'clock',
  'jwt',
]

const path = 'createJwtAuthManager'

export interface ResolvedManagerOptions {
  readonly verifier: TokenVerifier
  readonly lastSeen: number | undefined
  readonly watchInterval: number
  readonly cnfGrace: number
}

export function resolveManagerOptions(options: JwtAuthManagerOptions): ResolvedManagerOptions {
  refuseUnknownKeys(options, [...new Set([...ownKeys, ...tokenVerifierKeys])], path)
  if (typeof options.logger?.error !== 'function') throw new TypeError(`${path}.logger: give a logger.`)
  for (const name of ['sessionLookup', 'track', 'audit'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function')
      throw new TypeError(`${path}.${name}: give a function.`)
  }
  if (options.cnf === undefined) {
    throw new TypeError(
      `${path}.cnf: give { secret }, or false to accept tokens that are not bound to a refresh.`,
    )
  }
  if (options.cnf !== false)
    refuseUnknownKeys(options.cnf, ['secret', 'previousSecrets', 'grace'], `${path}.cnf`)
  if (options.dpop !== undefined) refuseUnknownKeys(options.dpop, ['window', 'nonces'], `${path}.dpop`)
  const { freshness = jwtAuthManagerDefaults.freshness } = options
  if (freshness !== 'strict' && freshness !== 'tracked') {
    throw new TypeError(`${path}.freshness: ${JSON.stringify(freshness)} must be 'strict' or 'tracked'.`)
  }
  if ((freshness === 'tracked') !== (options.track !== undefined)) {
    throw new TypeError(`${path}: freshness 'tracked' and track belong together. Give both or neither.`)
  }
  const watchInterval = parseDuration(
    options.watchInterval ?? jwtAuthManagerDefaults.watchInterval,
    `${path}.watchInterval`,
  )
  if (watchInterval < 10) throw new TypeError(`${path}.watchInterval: needs at least 10 ms.`)
  const grace = (options.cnf === false ? undefined : options.cnf.grace) ?? jwtAuthManagerDefaults.cnfGrace
  return {
    verifier: resolveVerifier(options),
    lastSeen:
      options.lastSeen === false
        ? undefined
        : parseDuration(options.lastSeen ?? jwtAuthManagerDefaults.lastSeen, `${path}.lastSeen`),
    watchInterval,
    cnfGrace: parseDuration(grace, `${path}.cnf.grace`),
  }
}

function resolveVerifier(options: JwtAuthManagerOptions): TokenVerifier {
  const given = Object.entries(options).filter(
    ([key, value]) => tokenVerifierKeys.includes(key) && value !== undefined,
  )
  if (options.jwt === undefined)
    return createTokenVerifier(Object.fromEntries(given) as unknown as TokenVerifierOptions, path)
  const both = given.map(([key]) => key).filter((key) => key !== 'clock')
  if (both.length === 0) return options.jwt
  throw new TypeError(`${path}: jwt is a verifier of its own. Leave out ${both.join(', ')}.`)
}
