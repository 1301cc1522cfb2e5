import { hash, verify } from '@node-rs/argon2'
import { createKeyedSemaphore, QuintetError } from '@quintet/core'
import { networkOf } from '@quintet/core/http'

/** OWASP's recommendation for Argon2id: 19 MiB, 2 passes, 1 lane. */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

/** Where a request comes from, and when it is over. */
export interface Asker {
  readonly client: { readonly address: string | null }
  readonly signal: AbortSignal
}

/** Hashes passwords a few at once, and those of one network one after another: a flood from one slows down itself. */
export interface Passwords {
  /** @throws QuintetError `ERR_CORE_RATE_LIMITED` when too many of the network wait. */
  hash(password: string, asker: Asker): Promise<string>
  /**
   * Compares a password with the hash of a user, or of nobody.
   *
   * @throws QuintetError `ERR_ACCOUNT_BAD_CREDENTIALS`, the same for a wrong password and an unknown user.
   */
  check(storedHash: string | undefined, password: string, asker: Asker): Promise<void>
}

export function createPasswords(): Passwords {
  const semaphore = createKeyedSemaphore({ total: 2, perKey: 1, waitingPerKey: 32, waiting: 256 })
  const take = <Result>(
    { client: { address }, signal }: Asker,
    work: () => Promise<Result>,
  ): Promise<Result> => semaphore.take(address === null ? '' : networkOf(address), signal, work)
  /** Compared with when there is no such user, so that both cases take as long. */
  let decoy: Promise<string> | undefined

  return {
    hash: (password, asker) => take(asker, () => hashPassword(password)),
    async check(storedHash, password, asker) {
      decoy ??= hashPassword(crypto.randomUUID())
      const comparedWith = storedHash ?? (await decoy)
      const matches = await take(asker, () => verify(comparedWith, prepare(password)))
      if (storedHash !== undefined && matches) return
      throw new QuintetError('Tenant, e-mail or password is wrong.', {
        code: 'ERR_ACCOUNT_BAD_CREDENTIALS',
        kind: 'unauthenticated',
      })
    },
  }
}

export function hashPassword(password: string): Promise<string> {
  return hash(prepare(password), parameters)
}

/** One spelling of a password, composed or not, whichever keyboard it came from (RFC 8265 section 4.2). */
function prepare(password: string): string {
  return password.replace(/\p{Zs}/gu, ' ').normalize('NFC')
}
