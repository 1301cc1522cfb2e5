import { z } from 'zod'

/** What an operator may change while everything runs. */
export const AuthSettings = z.strictObject({
  signUpOpen: z.boolean().default(true),
  /** Of all tenants together. */
  signUpsPerMinute: z.int().min(1).max(100_000).default(60),
})

/** Known to the system, for `quintet settings`, and to the services that follow them. */
export const authSettings = { schema: AuthSettings, namespace: 'auth' }
