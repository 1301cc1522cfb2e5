import { secret } from '@quintet/core/zod'
import { z } from 'zod'

/** One logical database for each purpose; sessions are shared by all apps. */
export const RedisConfig = z.strictObject({ url: secret() })

/** The app's own database: the tenants' login, and that for work across tenants. The owner's is for migrations alone. */
export const DatabaseConfig = z.strictObject({ url: secret(), systemUrl: secret() })

/** Whose tokens are trusted. There is no default: two systems that share one would take each other's tokens. */
export const IdentityConfig = z.strictObject({
  issuer: z.url(),
  audience: z.string().min(1),
  jwksUrl: z.url().default('http://127.0.0.1:3001/.well-known/jwks.json'),
})

/** Binds tokens to sessions; shared by all apps, and no signing key. */
export const cnfSecret = secret({ minLength: 32 })
/** Signs the context of jobs; shared by the apps that make or run them. */
export const jobsSecret = secret({ minLength: 32 })
