import type { Duration, Logger } from '@quintet/core'
import { type Clock, type NoteProblem, option, readOptions, type ResolvedOptions } from '@quintet/core/kit'
import type { AuditListener } from '../audit.ts'
import { dpopSpec, type DpopOptions } from '../dpop/dpop-verifier.ts'
import { secretKeyOption, type SecretInput } from '../secrets.ts'
import { defaultCommandTimeout, sessionRedisOption, type SessionRedis } from '../sessions/session-redis.ts'
import type { SessionLookup } from '../sessions/session-warmer.ts'
import {
  tokenVerifier,
  tokenVerifierSpec,
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
  /**
   * Listens to the writes of sessions: open connections and calls that last end as soon as their session is revoked, not with
   * the next look of {@link watchInterval}. `freshness: 'tracked'` needs it.
   */
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

const defaults = jwtAuthManagerDefaults

const ownSpec = {
  logger: option.logger().required(),
  sessionRedis: sessionRedisOption(),
  cnf: option
    .nested({
      secret: secretKeyOption(),
      previousSecrets: option.list(secretKeyOption()),
      grace: option.duration(defaults.cnfGrace),
    })
    .required()
    .orFalse(),
  sessionLookup: option.function<SessionLookup>().optional(),
  freshness: option.oneOf(['strict', 'tracked'], defaults.freshness),
  track: option.function<TrackSessions>().optional(),
  lastSeen: option.duration(defaults.lastSeen).orFalse(),
  watchInterval: option.delay(defaults.watchInterval, { min: 10 }),
  dpop: option.nested(dpopSpec),
  audit: option.function<AuditListener>().optional(),
  commandTimeout: option.delay(defaults.commandTimeout, { min: 1 }),
  clock: tokenVerifierSpec.clock,
}

const path = 'createJwtAuthManager'
const withKeysSpec = { ...tokenVerifierSpec, ...ownSpec }
const withVerifierSpec = {
  ...ownSpec,
  jwt: option.collaborator<TokenVerifier>(['verify', 'recall', 'ready'], 'createTokenVerifier(...)'),
}

export type ResolvedManagerOptions = ResolvedOptions<typeof ownSpec> & { readonly verifier: TokenVerifier }

/** @throws TypeError naming every option that is unknown or makes no sense. */
export function resolveManagerOptions(options: JwtAuthManagerOptions): ResolvedManagerOptions {
  if (options?.jwt === undefined) {
    const { jwt: _none, ...given } = options ?? {}
    const read = readOptions<typeof given, typeof withKeysSpec>(given, withKeysSpec, path, { check })
    return { ...read, verifier: tokenVerifier(read) }
  }
  // What belongs to a verifier is the business of the one that was given.
  const { keys, issuer, audience, clockTolerance, tokenCache, maxTokenLength, ...given } = options as Partial<
    Record<keyof TokenVerifierOptions, unknown>
  > &
    ManagerOptions & { readonly jwt: TokenVerifier }
  const both = Object.entries({ keys, issuer, audience, clockTolerance, tokenCache, maxTokenLength })
    .filter(([, value]) => value !== undefined)
    .map(([key]) => key)
  if (both.length > 0)
    throw new TypeError(`${path}: jwt is a verifier of its own. Leave out ${both.join(', ')}.`)
  const read = readOptions<typeof given, typeof withVerifierSpec>(given, withVerifierSpec, path, { check })
  return { ...read, verifier: read.jwt }
}

function check({ freshness, track }: ResolvedOptions<typeof ownSpec>, note: NoteProblem): void {
  if (freshness === 'tracked' && track === undefined)
    note('', "freshness 'tracked' needs track, which makes the tracked cache.")
}
