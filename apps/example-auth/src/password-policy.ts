import { QuintetError } from '@quintet/core'
import type { AuthServices } from './services.ts'

/**
 * Holds a new password against what is guessed first: the address that it belongs to, and passwords known from breaches.
 *
 * @throws QuintetError `ERR_ACCOUNT_WEAK_PASSWORD` (invalid-input)
 * @see NIST SP 800-63B section 5.1.1.2
 */
export async function assertStrong(
  { breached }: Pick<AuthServices, 'breached'>,
  { email, password }: { readonly email: string; readonly password: string },
): Promise<void> {
  if (password.trim().toLowerCase() === email) throw weak('The password must not be the e-mail address.')
  if (await breached.has(password))
    throw weak('This password is among those that were stolen elsewhere and are tried first. Choose another.')
}

function weak(message: string): QuintetError {
  return new QuintetError(message, { code: 'ERR_ACCOUNT_WEAK_PASSWORD', kind: 'invalid-input' })
}
