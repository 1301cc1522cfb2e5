import { z } from 'zod'

/** What an operator may change while everything runs. */
export const AuthSettings = z.strictObject({
  signUpOpen: z.boolean().default(true),
  /** Of all tenants together. */
  signUpsPerMinute: z.int().min(1).max(100_000).default(60),
})
