import { type Principal, QuintetError } from '@quintet/core'
import { serverError } from '../errors.ts'

/** When a client that was refused for their number may try again, in milliseconds. */
const retryAfter = 5_000

/** Counts connections, in all and of each user; a handshake counts from the moment it arrives. */
export class ConnectionLimits {
  readonly #most: number
  readonly #mostPerUser: number
  readonly #ofUser = new Map<string, number>()
  #all = 0

  constructor(most: number, mostPerUser: number) {
    this.#most = most
    this.#mostPerUser = mostPerUser
  }

  /** @throws QuintetError `ERR_SERVER_CONNECTION_LIMIT`, kind `unavailable`. */
  enter(): void {
    if (this.#all >= this.#most) {
      throw serverError('ERR_SERVER_CONNECTION_LIMIT', 'There are too many connections. Try again later.', {
        retryAfter,
      })
    }
    this.#all++
  }

  /** @throws QuintetError `ERR_SERVER_CONNECTION_LIMIT`, kind `rate-limited`. */
  enterUser(principal: Principal): void {
    const user = userOf(principal)
    if (user === undefined) return
    const count = this.#ofUser.get(user) ?? 0
    if (count >= this.#mostPerUser) {
      throw new QuintetError('You have too many connections. Close one first.', {
        code: 'ERR_SERVER_CONNECTION_LIMIT',
        kind: 'rate-limited',
        retryAfter,
      })
    }
    this.#ofUser.set(user, count + 1)
  }

  /** @param principal of a connection that had been counted for its user too. */
  leave(principal?: Principal): void {
    this.#all--
    const user = principal === undefined ? undefined : userOf(principal)
    if (user === undefined) return
    const left = (this.#ofUser.get(user) ?? 1) - 1
    if (left > 0) this.#ofUser.set(user, left)
    else this.#ofUser.delete(user)
  }
}

function userOf({ tenantId, userId }: Principal): string | undefined {
  return userId === null ? undefined : JSON.stringify([tenantId, userId])
}
