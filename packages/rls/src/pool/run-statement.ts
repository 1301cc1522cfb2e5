import type { QueryResult } from 'pg'
import type { DriverCallback } from './driver.ts'
import { runExplicitly } from './explicit.ts'
import { settingsFor, takeFlight, type Session } from './session.ts'
import type { Flight } from './context-query.ts'

/** A statement as pg's `query` takes it. */
export interface Statement {
  readonly config: string | { readonly text: string; readonly values?: readonly unknown[] }
  readonly values: readonly unknown[] | undefined
}

const nothingAhead: Flight = Object.freeze({ begin: undefined, settings: undefined })

/** Sends one statement with the context of the calling code. The callback is called once. */
export function runStatement(session: Session, statement: Statement, callback: DriverCallback): void {
  const text = typeof statement.config === 'string' ? statement.config : statement.config.text
  const traits = session.options.readStatement(text)

  switch (traits.kind) {
    case 'begin':
      if (session.inTransaction) break
      session.begin = text
      session.inTransaction = true
      session.applied = undefined
      process.nextTick(callback, null, emptyResult(traits.command))
      return
    case 'end':
      session.inTransaction = false
      session.applied = undefined
      if (session.begin !== undefined) {
        session.begin = undefined
        process.nextTick(callback, null, emptyResult(traits.command))
        return
      }
      send(session, nothingAhead, statement, callback)
      return
    case 'end-and-chain':
    case 'rollback-to':
      session.applied = undefined
      send(session, { begin: takeBegin(session), settings: undefined }, statement, callback)
      return
    case 'other':
      break
  }

  let flight: Flight
  try {
    flight = takeFlight(session, settingsFor(session), traits)
  } catch (error) {
    process.nextTick(callback, error)
    return
  }
  send(session, flight, statement, callback)
}

function takeBegin(session: Session): string | undefined {
  const { begin } = session
  session.begin = undefined
  return begin
}

function send(session: Session, flight: Flight, statement: Statement, callback: DriverCallback): void {
  session.pending++
  let settled = false
  // Outside of a transaction a statement that PostgreSQL would not run can be sent again.
  let again = !session.inTransaction && flight.begin === undefined
  const settle: DriverCallback = (error, result) => {
    if (settled) return
    if (again && error && isOutdated(error)) {
      again = false
      submit()
      return
    }
    settled = true
    session.pending--
    callback(error, result)
  }
  const { ContextQuery } = session.options
  const submit = (): void => {
    if (ContextQuery === undefined) return
    try {
      const query = new ContextQuery(flight, statement.config, statement.values, settle)
      const timeout = (statement.config as { query_timeout?: number }).query_timeout
      if (timeout !== undefined) (query as unknown as { query_timeout: number }).query_timeout = timeout
      ;(session.client.query as unknown as (query: object) => void).call(session.client, query)
    } catch (error) {
      process.nextTick(settle, error)
    }
  }
  if (ContextQuery === undefined) {
    runExplicitly(session, flight, () => plainQuery(session, statement)).then(
      (result) => settle(null, result),
      settle,
    )
    return
  }
  if (session.tail === undefined) submit()
  else void session.tail.then(submit)
}

/** A table has changed since the statement was prepared; its columns are other ones now. */
function isOutdated(error: Error): boolean {
  const { code, routine } = error as { code?: unknown; routine?: unknown }
  return code === '0A000' && routine === 'RevalidateCachedQuery'
}

function plainQuery(session: Session, statement: Statement): Promise<unknown> {
  return session.client.query(statement.config as string, statement.values as unknown[])
}

function emptyResult(command: string): QueryResult {
  return { command, rowCount: null as unknown as number, oid: 0, fields: [], rows: [] }
}
