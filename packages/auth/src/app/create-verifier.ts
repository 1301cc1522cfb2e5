import type { SetupContext } from '@quintet/core'
import { createJwtAuthManager, type JwtAuthManager } from '../manager/create-jwt-auth-manager.ts'
import type { JwtAuthManagerOptions } from '../manager/manager-options.ts'
import { remoteJwks } from '../keys/remote-jwks.ts'
import type { SecretInput } from '../secrets.ts'
import type { SessionRedis } from '../sessions/session-redis.ts'

/** What {@link createVerifier} reads of the configuration of an app. */
export interface VerifierConfig {
  /** Whose tokens are trusted. */
  readonly identity: { readonly issuer: string; readonly audience: string; readonly jwksUrl: string }
  /** What binds tokens to sessions: `deriveSecrets(root).cnf` of the auth app. */
  readonly secrets: { readonly cnf: SecretInput }
}

/** What {@link createVerifier} takes of a `SetupContext`. */
export type VerifierContext = Pick<SetupContext<VerifierConfig>, 'config' | 'logger' | 'lifecycle' | 'health'>

/** What may be set beside the configuration. */
export type VerifierOptions = Partial<
  Omit<JwtAuthManagerOptions, 'jwt' | 'keys' | 'issuer' | 'audience' | 'cnf' | 'logger' | 'sessionRedis'>
>

/**
 * Makes the auth manager of an app that trusts the auth app's tokens: it has public keys and the shared sessions, and
 * nothing to sign with. The process is ready once the keys have come.
 *
 * @example
 * const redis = await openRedis(context)
 * const verifier = createVerifier(context, redis)
 */
export function createVerifier(
  { config, logger, lifecycle, health }: VerifierContext,
  redis: { client(name: 'sessions'): SessionRedis },
  options: VerifierOptions = {},
): JwtAuthManager {
  const { issuer, audience, jwksUrl } = config.identity
  const manager = lifecycle.use(
    createJwtAuthManager({
      ...options,
      logger,
      keys: remoteJwks(jwksUrl),
      sessionRedis: redis.client('sessions'),
      cnf: { secret: config.secrets.cnf },
      issuer,
      audience,
    }),
  )
  health.add(manager.healthCheck())
  return manager
}
