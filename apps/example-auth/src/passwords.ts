import { hash, verify } from '@node-rs/argon2'
import { QuintetError } from '@quintet/core'

/** OWASP's recommendation for Argon2id: 19 MiB, 2 passes, 1 lane. */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

/** Compared with when there is no such user, so that both cases take as long. */
let decoy: Promise<string> | undefined

/** One spelling of a password, composed or not, whichever keyboard it came from (RFC 8265 section 4.2). */
function prepare(password: string): string {
  return password.replace(/\p{Zs}/gu, ' ').normalize('NFC')
}

export function hashPassword(password: string): Promise<string> {
  return hash(prepare(password), parameters)
}

/**
 * Compares a password with the hash of a user, or of nobody.
 *
 * @throws QuintetError `ERR_ACCOUNT_BAD_CREDENTIALS`, the same for a wrong password and an unknown user.
 */
export async function checkPassword(storedHash: string | undefined, password: string): Promise<void> {
  decoy ??= hashPassword(crypto.randomUUID())
  const matches = await verify(storedHash ?? (await decoy), prepare(password))
  if (storedHash !== undefined && matches) return
  throw new QuintetError('Tenant, e-mail or password is wrong.', {
    code: 'ERR_ACCOUNT_BAD_CREDENTIALS',
    kind: 'unauthenticated',
  })
}
