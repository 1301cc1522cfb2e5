import { randomBytes } from 'node:crypto'
import { silentLogger } from '@quintet/core'
import { refuseUnknownKeys } from '@quintet/core/kit'
import type { AuthEvent } from '../audit.ts'
import { createKeyRing, type KeyRing } from '../keys/key-ring.ts'
import { createJwtAuthManager, type JwtAuthManager } from '../manager/create-jwt-auth-manager.ts'
import type { JwtAuthManagerOptions } from '../manager/manager-options.ts'
import { deriveSecrets, type DerivedSecrets } from '../secrets.ts'
import type { SessionAuthorityOptions } from '../authority/authority-options.ts'
import { createSessionAuthority } from '../authority/create-session-authority.ts'
import type { SessionAuthority, SessionTokens, SignIn } from '../authority/session-authority.ts'
import type { SessionRedis } from '../sessions/session-redis.ts'
import type { AccessClaims } from '../tokens/access-claims.ts'
import type { TokenVerifierOptions } from '../tokens/token-verifier.ts'
import { signAccessToken } from '../tokens/sign-access-token.ts'
import { createTestClock, type TestClock } from './test-clock.ts'

export interface TestAuthOptions {
  /** A real Redis. Every kit uses a tenant of its own, so that tests do not meet. */
  readonly redis: SessionRedis
  /** Of the authority, beyond what the kit sets. */
  readonly authority?: Partial<
    Omit<SessionAuthorityOptions, 'redis' | 'keys' | 'secrets' | 'issuer' | 'audience' | 'clock'>
  >
  /** Of the manager, beyond what the kit sets. */
  readonly manager?: Partial<
    Pick<
      JwtAuthManagerOptions,
      | 'freshness'
      | 'track'
      | 'sessionLookup'
      | 'lastSeen'
      | 'watchInterval'
      | 'cnf'
      | 'dpop'
      | 'audit'
      | 'commandTimeout'
    > &
      Pick<TokenVerifierOptions, 'clockTolerance' | 'tokenCache' | 'maxTokenLength'>
  >
}

/** Machines that run tests are busy. */
const commandTimeout = '1s'

/** Who signs in; everything has a default. */
export type TestUser = Partial<SignIn>

/** An issuer and a verifier for the tests of an app: real tokens, real sessions, a clock to turn. */
export interface TestAuth extends AsyncDisposable {
  readonly tenantId: string
  readonly clock: TestClock
  readonly keys: KeyRing
  readonly secrets: DerivedSecrets
  readonly issuer: string
  readonly audience: string
  readonly authority: SessionAuthority
  /** Give it to `defineSystem({ auth })`, or to an adapter. */
  readonly manager: JwtAuthManager
  /** What has been audited, in order. */
  readonly events: readonly AuthEvent[]
  /** Starts a session. */
  signIn(user?: TestUser): Promise<SessionTokens>
  /** `Authorization` for a session that was just started. */
  authorization(user?: TestUser): Promise<{ readonly authorization: string }>
  /** Signs a token with whatever claims, to see it refused. */
  token(claims: Partial<AccessClaims>): Promise<string>
  close(): Promise<void>
}

/** Makes an issuer and a verifier that agree. */
export async function createTestAuth(options: TestAuthOptions): Promise<TestAuth> {
  refuseUnknownKeys(options, ['redis', 'authority', 'manager'], 'createTestAuth')
  const { redis } = options
  const clock = createTestClock()
  const keys = await createKeyRing({ clock })
  const secrets = deriveSecrets(randomBytes(32))
  const issuer = 'https://auth.test'
  const audience = 'test'
  const tenantId = `test-${randomBytes(6).toString('hex')}`
  const events: AuthEvent[] = []
  const authority = createSessionAuthority({
    audit: (event) => events.push(event),
    commandTimeout,
    ...options.authority,
    issuer,
    audience,
    redis,
    keys,
    secrets,
    clock,
  })
  const manager = createJwtAuthManager({
    logger: silentLogger,
    cnf: { secret: secrets.cnf },
    commandTimeout,
    ...options.manager,
    keys,
    issuer,
    audience,
    sessionRedis: redis,
    clock,
  })
  const signIn = (user: TestUser = {}): Promise<SessionTokens> =>
    authority.signIn({ userId: 'alice', tenantId, ...user })
  const close = async (): Promise<void> => {
    await manager.close()
    await authority.close()
  }
  return {
    tenantId,
    clock,
    keys,
    secrets,
    issuer,
    audience,
    authority,
    manager,
    events,
    signIn,
    async authorization(user) {
      return { authorization: `Bearer ${(await signIn(user)).accessToken}` }
    },
    async token(claims) {
      const iat = Math.floor(clock.now() / 1_000)
      const standard = {
        iss: issuer,
        aud: audience,
        sub: 'alice',
        sid: 'none',
        tid: tenantId,
        roles: [],
        permissions: [],
      }
      return await signAccessToken({ ...standard, iat, exp: iat + 300, ...claims }, keys.signer())
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}
