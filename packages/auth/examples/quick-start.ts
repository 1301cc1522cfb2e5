import { Redis } from 'ioredis'
import { createLogger } from '@quintet/core/logger'
import {
  createJwtAuthManager,
  createKeyRing,
  createSessionAuthority,
  deriveSecrets,
  keySet,
} from '@quintet/auth'

const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379', { maxRetriesPerRequest: 0 })
const issuer = 'https://auth.example.com'

// The auth app: it has the private key and the root secret.
const secrets = deriveSecrets('at least 32 bytes from your secret store')
const keys = await createKeyRing()
await using authority = createSessionAuthority({ redis, keys, secrets, issuer, audience: 'media' })

// Any other app: public keys and the cnf secret. It can verify, and mint nothing.
await using auth = createJwtAuthManager({
  logger: createLogger(),
  sessionRedis: redis,
  keys: await keySet(keys.jwks()), // usually remoteJwks('https://auth.example.com/.well-known/jwks.json')
  cnf: { secret: secrets.cnf.reveal() },
  issuer,
  audience: 'media',
})

const tokens = await authority.signIn({ userId: 'alice', tenantId: 'acme', roles: ['editor'], amr: ['pwd'] })
const principal = await auth.authenticate({ scheme: 'bearer', token: tokens.accessToken })
console.log(`${principal.userId} of ${principal.tenantId}`)

await authority.revoke(tokens.session)
await auth
  .authenticate({ scheme: 'bearer', token: tokens.accessToken })
  .catch((error: Error) => console.log(error.message))
redis.disconnect()
