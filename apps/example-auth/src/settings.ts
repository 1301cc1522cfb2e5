import { z } from 'zod'

/** What an operator may change while everything runs. */
export const AuthSettings = z.strictObject({
  /** Operators are none before they have given a second factor; by default those who have one. */
  operatorsNeedSecondFactor: z.boolean().default(false),
  signUpOpen: z.boolean().default(true),
  /** Of all tenants together. */
  signUpsPerMinute: z.int().min(1).max(100_000).default(300),
  /** Of one network: an IPv4 address, or a /64 of IPv6. */
  signUpsPerMinuteAndNetwork: z.int().min(1).max(100_000).default(30),
})

/** Known to the system, for `quintet settings`, and to the services that follow them. */
export const authSettings = { schema: AuthSettings, namespace: 'auth' }
