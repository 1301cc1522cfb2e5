import { tenantOf, type ContextSettings } from '../context/context-settings.ts'
import type { Flight, StatementPlan } from '../wire/context-query.ts'
import { statusOf, type Session, type Transaction } from './session.ts'

/**
 * Decides what must travel ahead of one statement when the statement is written, not when it is called: one
 * that never leaves changes nothing. What PostgreSQL confirms is remembered, and any error forgets it.
 */
export class FlightPlan implements StatementPlan {
  readonly #session: Session
  readonly #transaction: Transaction | undefined
  readonly #settings: ContextSettings | undefined
  readonly #unsettles: boolean
  #flight: Flight | undefined
  #alone = false

  /**
   * @param settings the context of the statement; undefined for one that needs none.
   * @param unsettles whether the settings are unknown after the statement.
   */
  constructor(session: Session, settings: ContextSettings | undefined, unsettles: boolean) {
    this.#session = session
    this.#transaction = session.transaction
    this.#settings = settings
    this.#unsettles = unsettles
    if (this.#transaction) this.#transaction.used = true
  }

  /** Whether the statement was written outside of a transaction, so that it can be sent again. */
  get alone(): boolean {
    return this.#alone
  }

  /** Called as the statement is written. */
  take(): Flight {
    const session = this.#session
    const transaction = this.#transaction
    const begin = transaction === undefined || transaction.begun ? undefined : transaction.begin
    if (transaction) transaction.begun = true
    const open = isOpen(session, transaction)
    this.#alone = transaction === undefined && !open
    const current = begin === undefined && open && session.applied === this.#settings && !isPipelined(session)
    const settings = current ? undefined : this.#settings
    const seal = this.#seal(open && begin === undefined)
    this.#flight = { begin, settings, seal }
    return this.#flight
  }

  /** Whether the state of another tenant must go before the statement; remembers for whom the session works. */
  #seal(within: boolean): boolean {
    if (this.#settings === undefined) return false
    const session = this.#session
    const tenant = tenantOf(this.#settings)
    const own = session.sealedFor === tenant || (session.sealedFor === null && !within)
    session.sealedFor = own ? tenant : undefined
    return !own && !within
  }

  /** PostgreSQL has carried out BEGIN. */
  begun(): void {
    if (this.#transaction) this.#transaction.begun = true
    this.#session.applied = undefined
  }

  /** PostgreSQL has set the context. */
  set(): void {
    this.#session.applied = this.#settings
  }

  /** PostgreSQL has carried out the statement. */
  done(): void {
    if (this.#unsettles) this.#session.applied = undefined
    // A transaction of the holder may still be rolled back, and the state of before comes back with it.
    if (this.#flight?.seal && this.#alone && this.#settings) {
      this.#session.sealedFor = tenantOf(this.#settings)
    }
  }

  /** Something failed, on either side of the wire. */
  failed(began: boolean): void {
    this.#session.applied = undefined
    if (this.#flight?.seal) this.#session.sealedFor = undefined
    if (this.#flight?.begin !== undefined && !began && this.#transaction) this.#transaction.begun = false
  }
}

function isOpen(session: Session, transaction: Transaction | undefined): boolean {
  const status = statusOf(session.client)
  return typeof status === 'string' ? status !== 'I' : transaction !== undefined
}

/** In pipeline mode an earlier statement may still fail, so nothing is taken for granted. */
function isPipelined(session: Session): boolean {
  return (session.client as unknown as { pipeline?: boolean }).pipeline === true
}
