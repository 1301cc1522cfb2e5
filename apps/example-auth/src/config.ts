import { resolve } from 'node:path'
import {
  cnfSecret,
  DatabaseConfig,
  IdentityConfig,
  jobsSecret,
  RedisConfig,
} from '@quintet/example-platform/config'
import { secret } from '@quintet/core/zod'
import { z } from 'zod'

export const AuthConfig = z.strictObject({
  database: DatabaseConfig,
  redis: RedisConfig,
  identity: IdentityConfig,
  /** Where clients find this app; what proofs of possession at sign-in and refresh must be for. */
  publicUrl: z.url().default(process.env['QUINTET_PUBLIC_URL'] ?? 'http://127.0.0.1:8080/api/auth'),
  /** Where mail goes. Without it none is sent, and inviters hand invitations over. */
  mail: z
    .strictObject({
      /** A folder, for development. */
      directory: z.string().min(1).optional(),
      smtp: z
        .strictObject({
          /** `smtps://user:password@host:465`, or `smtp://` for a server with STARTTLS. */
          url: secret().refine(
            (url) => /^smtps?:\/\/[^/]/.test(url.reveal()),
            'must begin with smtp:// or smtps://',
          ),
          /** Whom mail comes from, e.g. `Example <no-reply@example.com>`. */
          from: z.string().min(3).max(320),
        })
        .optional(),
    })
    .refine(
      ({ directory, smtp }) => (directory === undefined) !== (smtp === undefined),
      'must be one of directory and smtp',
    )
    .optional(),
  passwords: z
    .strictObject({
      /** The list of breached passwords: SHA-1 hashes in order. The default knows the most common ones alone. */
      breached: z
        .string()
        .min(1)
        .default(resolve(import.meta.dirname, '../breached-passwords.txt')),
    })
    .prefault({}),
  secrets: z.strictObject({
    cnf: cnfSecret,
    jobs: jobsSecret,
    /** The keys of this app alone are derived from it, the signing key among them. */
    root: secret({ minLength: 32 }),
    /** The former root while it is being replaced: sessions and tokens made with it go on. Keep it for 30 days. */
    formerRoot: secret({ minLength: 32 }).optional(),
    /** The password of the platform's operator. */
    operator: secret({ minLength: 12 }),
  }),
})
export type AuthConfig = z.output<typeof AuthConfig>
