import { createJwtAuthManager, remoteJwks } from '@quintet/auth'
import type { AuthManager, Logger, Secret } from '@quintet/core'
import type { RedisClients } from '@quintet/redis'
import type { z } from 'zod'
import type { IdentityConfig } from './config.ts'

/** What an app that trusts the auth app's tokens needs: its public keys, the shared sessions, and nothing to sign with. */
export function createVerifier(options: {
  readonly logger: Logger
  readonly redis: RedisClients
  readonly identity: z.output<typeof IdentityConfig>
  readonly cnf: Secret
}): AuthManager {
  const { logger, redis, identity, cnf } = options
  return createJwtAuthManager({
    logger,
    keys: remoteJwks(identity.jwksUrl),
    sessionRedis: redis.client('sessions'),
    cnf: { secret: cnf },
    issuer: identity.issuer,
    audience: identity.audience,
  })
}
