import {
  createDpopVerifier,
  createJwtAuthManager,
  createKeyRing,
  createSessionCookies,
  createSessionAuthority,
  deriveSecrets,
  type DpopVerifier,
  type JwtAuthManager,
  type KeyRing,
  type SessionAuthority,
  type SessionCookies,
} from '@quintet/auth'
import { openBreachedPasswords, type BreachedPasswords } from '@quintet/auth/passwords'
import { createPostgresSessionStore } from '@quintet/auth/postgres'
import type { Secret, SetupContext } from '@quintet/core'
import { createSettings, type Settings } from '@quintet/core/settings'
import { openDatabase } from '@quintet/rls/app'
import { createRateLimiter, type RateLimiter, type RedisClients } from '@quintet/redis'
import { openRedis } from '@quintet/redis/app'
import {
  exports,
  removals,
  roleLosses,
  topics,
  userChanges,
  type PlatformTopics,
} from '@quintet/example-platform/events'
import { createEventBus, type EventBus, type Queue } from '@quintet/queue'
import { openQueue } from '@quintet/queue/app'
import type { Kysely } from 'kysely'
import type { AuthConfig } from './config.ts'
import { createMailer, type Mailer } from './mail.ts'
import { createPasswords, type Passwords } from './passwords.ts'
import type { AuthTables } from './schema.ts'
import { createSealer, type Sealer } from './sealed.ts'
import { authSettings, type AuthSettings } from './settings.ts'
import { deriveSigningKey } from './signing-key.ts'
import { rightsOf } from './users.ts'

export interface AuthServices {
  readonly db: Kysely<AuthTables>
  readonly redis: RedisClients
  readonly limiter: RateLimiter
  readonly keys: KeyRing
  readonly sessions: SessionAuthority
  readonly cookies: SessionCookies
  readonly dpop: DpopVerifier
  readonly publicUrl: string
  readonly issuer: string
  readonly passwords: Passwords
  /** For the secrets of second factors. */
  readonly sealer: Sealer
  readonly breached: BreachedPasswords
  /** Undefined where no mail is sent. */
  readonly mailer: Mailer | undefined
  readonly jobs: Queue
  readonly events: EventBus<PlatformTopics>
  readonly manager: JwtAuthManager
  readonly settings: Settings<typeof AuthSettings>
  readonly operatorPassword: Secret
}

/** Everything the auth app works with. It alone has the root secret, and with it the key that signs. */
export async function createAuthServices(context: SetupContext<AuthConfig>): Promise<AuthServices> {
  const { config, logger, lifecycle } = context
  const { issuer, audience } = config.identity
  const redis = await openRedis(context)
  const { db, systemPool } = openDatabase<AuthTables>(context)
  const jobs = openQueue(context, redis)
  const limiter = createRateLimiter({
    client: redis.client('ratelimit'),
    onUnavailable: 'refuse',
    // Whoever waits a moment is better off than whoever is refused.
    timeout: '1s',
  })
  const { root, formerRoot, cnf } = config.secrets
  const formerRoots = formerRoot === undefined ? [] : [formerRoot]
  const secrets = { ...deriveSecrets(root, ...formerRoots), cnf }
  const keys = await createKeyRing({
    keys: [{ jwk: deriveSigningKey(root) }, ...formerRoots.map((each) => ({ jwk: deriveSigningKey(each) }))],
  })
  const sessionRedis = redis.client('sessions')
  // PostgreSQL is the point of truth, Redis what every app reads. What Redis loses comes back from here.
  const store = createPostgresSessionStore({ pool: systemPool })
  const settings = lifecycle.use(
    createSettings({
      ...authSettings,
      pool: systemPool,
      redis: { publisher: redis.client('cache'), subscriber: redis.duplicate('cache', { blocking: true }) },
      logger,
    }),
  )
  const sessions = lifecycle.use(
    createSessionAuthority({
      redis: sessionRedis,
      keys,
      secrets,
      issuer,
      audience,
      logger,
      store,
      throttle: { limiter },
      loadUser: (session) => rightsOf({ db, settings }, session),
      audit: (event) => logger.info({ audit: event }, 'session event'),
    }),
  )
  const manager = createJwtAuthManager({
    logger,
    keys,
    sessionRedis,
    cnf: { secret: cnf },
    issuer,
    audience,
    sessionLookup: store.find,
  })
  return {
    db,
    redis,
    limiter,
    keys,
    sessions,
    dpop: createDpopVerifier({ redis: sessionRedis }),
    publicUrl: config.publicUrl,
    issuer,
    passwords: createPasswords(),
    sealer: createSealer('second-factor', root, ...formerRoots),
    breached: lifecycle.use(await openBreachedPasswords(config.passwords.breached)),
    mailer: config.mail && createMailer(config.mail),
    jobs,
    events: createEventBus({
      topics,
      queue: jobs,
      pool: systemPool,
      to: [userChanges, roleLosses, ...Object.values(removals), ...Object.values(exports)],
    }),
    cookies: createSessionCookies({
      csrfSecret: secrets.csrf,
      previousSecrets: secrets.previous.map(({ csrf }) => csrf),
    }),
    manager,
    settings,
    operatorPassword: config.secrets.operator,
  }
}
