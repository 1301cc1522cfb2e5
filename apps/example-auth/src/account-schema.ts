import { z } from 'zod'
import type { User } from './users.ts'

/** Names of tenants that look as if they were the platform's own. */
const reserved: ReadonlySet<string> = new Set([
  'account', 'admin', 'api', 'auth', 'billing', 'docs', 'help', 'login', 'mail', 'operator', 'platform',
  'root', 'security', 'sign-in', 'sign-up', 'static', 'status', 'support', 'system', 'www',
]) // prettier-ignore

export const Slug = z
  .string()
  .regex(/^[a-z][a-z0-9-]{1,62}$/, 'must be lower-case letters, digits and hyphens')

/** A slug that a tenant may take. */
export const FreeSlug = Slug.refine((slug) => !reserved.has(slug), 'is reserved')

export const Email = z.email().max(254).toLowerCase()

/** The token of a ticket. */
export const TicketToken = z.string().regex(/^[\w-]{43}$/, 'must be the token of a link')

/** NIST SP 800-63B: length counts, composition does not. */
export const Password = z.string().min(12).max(256)

/**
 * A name that is shown to others: composed, and without what cannot be seen or turns the direction of what follows, with
 * which one name passes for another.
 *
 * @see RFC 8266, Unicode Technical Standard 39
 */
export const Name = z
  .string()
  .trim()
  .normalize('NFC')
  .min(1)
  .max(100)
  .regex(/^[^\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]*$/u, 'must not hold invisible characters')

export const UserView = z.object({
  id: z.uuid(),
  tenantId: z.uuid(),
  email: z.string(),
  name: z.string(),
  emailVerified: z.boolean(),
  roles: z.array(z.string()),
})

export function viewUser(user: User): z.infer<typeof UserView> {
  const { id, tenant_id: tenantId, email, name, roles } = user
  return { id, tenantId, email, name, emailVerified: user.email_verified_at !== null, roles }
}
