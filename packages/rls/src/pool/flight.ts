import { haveSameOwner, type ContextSettings } from '../context/settings.ts'
import type { StatementPlan } from '../wire/context-query.ts'
import { isPipelined, statusOf, type Session, type Transaction } from './session.ts'

/**
 * Decides what must travel ahead of one statement when the statement is written, not when it is called: one
 * that never leaves changes nothing. The context goes with every statement, since a function may have set another one.
 */
export class FlightPlan implements StatementPlan {
  readonly #session: Session
  readonly #transaction: Transaction | undefined
  /** The context of the statement; undefined for one that needs none. */
  readonly settings: ContextSettings | undefined
  begin: string | undefined
  seal = false
  /** Whether the statement was written outside of a transaction, so that it can be sent again. */
  alone = false
  /** Whether the statement was written with what must travel ahead of it. */
  taken = false
  /** Which statement of the session it is, in the order of writing. */
  #number = 0

  constructor(session: Session, settings: ContextSettings | undefined) {
    this.#session = session
    this.#transaction = session.transaction
    this.settings = settings
    if (this.#transaction) this.#transaction.used = true
  }

  /** Called as the statement is written. */
  take(): void {
    this.taken = true
    this.#number = ++this.#session.written
    const transaction = this.#transaction
    this.begin = transaction === undefined || transaction.begun ? undefined : transaction.begin
    if (transaction) transaction.begun = true
    const open = isOpen(this.#session, transaction)
    this.alone = transaction === undefined && !open
    this.seal = this.#mustSeal(open && this.begin === undefined)
  }

  /** Whether the state that another user of the session may have left must go before the statement; remembers for whom the session works. */
  #mustSeal(within: boolean): boolean {
    const { settings } = this
    if (settings === undefined) return false
    const session = this.#session
    const { sealedFor } = session
    const own =
      (sealedFor === null && !within) ||
      (sealedFor !== null && sealedFor !== undefined && haveSameOwner(sealedFor, settings))
    session.sealedFor = own ? settings : undefined
    return !own && !within
  }

  /** PostgreSQL has carried out BEGIN. */
  begun(): void {
    if (this.#transaction) this.#transaction.begun = true
  }

  /** PostgreSQL has carried out the statement. */
  done(): void {
    // A transaction of the holder may still be rolled back, and the state of before comes back with it. What has been
    // written since works for others, perhaps.
    const isLast = this.#session.written === this.#number
    if (this.seal && this.alone && isLast) this.#session.sealedFor = this.settings
  }

  /** The transaction is rolled back, and begins anew with this statement. */
  restart(): void {
    if (this.#transaction) this.#transaction.begun = false
  }

  /** Something failed, on either side of the wire. */
  failed(began: boolean): void {
    if (this.seal) this.#session.sealedFor = undefined
    if (this.begin !== undefined && !began && this.#transaction) this.#transaction.begun = false
  }
}

/** Of pipelined statements the last answer tells nothing: what was written after it may have opened or ended a transaction. */
function isOpen(session: Session, transaction: Transaction | undefined): boolean {
  if (session.pending > 1 && isPipelined(session.client)) return transaction !== undefined
  const status = statusOf(session.client)
  return typeof status === 'string' ? status !== 'I' : transaction !== undefined
}
