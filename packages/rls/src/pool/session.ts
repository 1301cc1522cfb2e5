import type { PoolClient } from 'pg'
import { currentScope, type RlsScope } from '../context/rls-context.ts'
import { RlsError } from '../errors.ts'
import type { SettingsReader } from '../context/context-settings.ts'
import type { ContextSettings } from '../context/settings.ts'
import type { ContextQueryClass } from '../wire/context-query.ts'
import type { StatementTraits } from '../wire/statement-text.ts'

/** What all sessions of one pool share. */
export interface SessionOptions {
  /** Absent when the driver is unknown: then every statement takes an explicit transaction. */
  readonly ContextQuery: ContextQueryClass | undefined
  readonly readStatement: (text: string) => StatementTraits
  readonly settings: SettingsReader
  /** Whether the connection is one of the system login. */
  readonly system: boolean
}

/** A transaction as its holder sees it: opened by a BEGIN that travels with the first statement. */
export interface Transaction {
  readonly begin: string
  /** Whether BEGIN has been written. */
  begun: boolean
  /** Whether a statement was called in it, so that its end must reach the database. */
  used: boolean
}

/** What the pool knows of one connection while it is checked out. */
export interface Session {
  readonly client: PoolClient
  readonly options: SessionOptions
  transaction: Transaction | undefined
  /** For whom alone the session can hold state; null for a new one, undefined when unknown. */
  sealedFor: ContextSettings | null | undefined
  /** Something outlives the transaction on this connection, so it cannot go back to the pool. */
  tainted: boolean
  /** Statements that have not been answered. */
  pending: number
  /** Statements that have been written. */
  written: number
  /** A cursor or stream that has not ended. */
  streaming: boolean
  /** Of the invocation that took the connection: once it has aborted, the connection carries only the end of its transaction. */
  signal: AbortSignal | undefined
  /** Gives the place back that the connection has in its tenant's share. */
  leave: (() => void) | undefined
  /** The last step of the explicit path, which runs one step at a time; undefined when there is none. */
  tail: Promise<unknown> | undefined
}

export function createSession(client: PoolClient, options: SessionOptions): Session {
  return {
    client,
    options,
    transaction: undefined,
    sealedFor: null,
    tainted: false,
    pending: 0,
    written: 0,
    streaming: false,
    signal: undefined,
    leave: undefined,
    tail: undefined,
  }
}

/** Forgets what the last holder left, when the connection changes hands. */
export function resetSession(session: Session): void {
  session.transaction = undefined
  session.signal = undefined
}

/**
 * The settings of the calling code for this connection.
 *
 * @throws RlsError `ERR_RLS_WRONG_SCOPE` for a tenant's connection inside `asSystem` and the other way round.
 */
export function settingsFor(session: Session, scope: RlsScope | undefined = currentScope()): ContextSettings {
  const { system, settings } = session.options
  if (system !== ((scope?.systemReason ?? null) !== null)) {
    throw new RlsError('The work belongs to another scope of the database.', {
      code: 'ERR_RLS_WRONG_SCOPE',
      kind: 'forbidden',
      cause: new Error(
        system
          ? 'A connection of the system login was used outside of asSystem.'
          : "A tenant's connection or transaction was used inside asSystem. Take a new one there.",
      ),
    })
  }
  return settings.read(scope)
}

/** For how long a connection that owes an answer is waited for, in milliseconds, once that answer is not wanted any more. */
export const unansweredAfter = 5_000

/** The transaction status of the last ReadyForQuery; undefined for a driver that does not tell. */
export function statusOf(client: PoolClient): string | null | undefined {
  return (client as unknown as { getTransactionStatus?: () => string | null }).getTransactionStatus?.()
}

/** Whether the driver writes statements before the ones ahead of them are answered. */
export function isPipelined(client: PoolClient): boolean {
  return (client as unknown as { pipeline?: boolean }).pipeline === true
}
