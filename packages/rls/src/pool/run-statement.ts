import type { EventEmitter } from 'node:events'
import type { QueryConfig, QueryResult } from 'pg'
import { currentScope } from '../context/rls-context.ts'
import { cancelOnAbort } from './cancel-on-abort.ts'
import { RlsError } from '../errors.ts'
import type { DriverCallback } from '../wire/driver.ts'
import { hasOtherColumns } from '../sql/postgres-errors.ts'
import type { ContextQuery } from '../wire/context-query.ts'
import { runExplicitly, runNext, type Commit } from './explicit.ts'
import { FlightPlan } from './flight.ts'
import { settingsFor, type Session } from './session.ts'
import type { StatementTraits } from '../wire/statement-text.ts'

/** A statement as pg's `query` takes it. */
export interface Statement {
  readonly config: string | { readonly text: string; readonly values?: readonly unknown[] }
  readonly values: readonly unknown[] | undefined
}

/**
 * Sends one statement with the context of the calling code. The callback is called once. When the invocation that
 * took the connection is over, the statement is cancelled or not sent; the end of a transaction is carried out.
 */
export function runStatement(session: Session, statement: Statement, callback: DriverCallback): void {
  runRead(session, statement, traitsOf(session, statement), callback)
}

/** {@link runStatement} on a connection that was taken for this statement alone: a transaction can mean nothing there. */
export function runSingleStatement(session: Session, statement: Statement, callback: DriverCallback): void {
  const traits = traitsOf(session, statement)
  if (traits.kind === 'other') return runRead(session, statement, traits, callback)
  const reason =
    'query: a transaction belongs to a connection, and a pool takes one anew for each statement. Take one with connect().'
  process.nextTick(callback, new TypeError(reason))
}

function traitsOf(session: Session, { config }: Statement): StatementTraits {
  return session.options.readStatement(typeof config === 'string' ? config : config.text)
}

function runRead(
  session: Session,
  statement: Statement,
  traits: StatementTraits,
  callback: DriverCallback,
): void {
  const text = typeof statement.config === 'string' ? statement.config : statement.config.text
  switch (traits.kind) {
    case 'begin':
      if (session.transaction) break
      session.transaction = { begin: text, begun: false, used: false }
      process.nextTick(callback, null, emptyResult(traits.command))
      return
    case 'end': {
      const { transaction } = session
      session.transaction = undefined
      if (transaction?.used === false) process.nextTick(callback, null, emptyResult(traits.command))
      else send(session, new FlightPlan(session, undefined), statement, traits, callback)
      return
    }
    case 'end-and-chain':
    case 'rollback-to':
    case 'set-transaction':
      send(session, new FlightPlan(session, undefined), statement, traits, callback)
      return
    case 'other':
      break
  }

  if (session.signal?.aborted) {
    process.nextTick(callback, session.signal.reason)
    return
  }
  const scope = currentScope()
  let plan: FlightPlan
  try {
    plan = new FlightPlan(session, settingsFor(session, scope))
  } catch (error) {
    process.nextTick(callback, error)
    return
  }
  if (traits.staysOnConnection) session.tainted = true
  const heard = scope === undefined ? hintAtContext(callback) : callback
  send(session, plan, statement, traits, cancelOnAbort(session, heard))
}

function send(
  session: Session,
  plan: FlightPlan,
  statement: Statement,
  traits: StatementTraits,
  callback: DriverCallback,
): void {
  session.pending++
  let settled = false
  let outdated: Error | undefined
  let query: ContextQuery | undefined
  const settle: DriverCallback = (error, result) => {
    if (settled) return
    if (error && outdated === undefined && query?.isOutdatedBy(error) === true) {
      outdated = error
      if (repeat(session, plan, submit, settle)) return
    } else if (outdated && !error && !hasOtherColumns(outdated)) {
      // What was outdated here is so on the other connections too.
      ContextQuery?.tablesChanged()
    }
    settled = true
    session.pending--
    const wasSentWithoutContext = !plan.taken && (!error || isFromServer(error))
    if (!wasSentWithoutContext) return callback(error, result)
    session.tainted = true
    callback(sentWithoutContext(error))
  }
  const { ContextQuery } = session.options
  const submit = (): void => {
    if (ContextQuery === undefined) return
    try {
      query = new ContextQuery(plan, traits, statement.config, statement.values, settle)
      const timeout = (statement.config as { query_timeout?: number }).query_timeout
      if (timeout !== undefined) (query as unknown as { query_timeout: number }).query_timeout = timeout
      ;(session.client.query as unknown as (query: object) => void).call(session.client, query)
    } catch (error) {
      process.nextTick(settle, error)
    }
  }
  if (ContextQuery === undefined) {
    const run = async (commit: Commit | undefined): Promise<unknown> => {
      const result = await plainQuery(session, statement)
      await commit?.()
      return result
    }
    runExplicitly(session, plan, run).then((result) => settle(null, result), settle)
    return
  }
  if (session.tail === undefined) submit()
  else void session.tail.then(submit)
}

/**
 * Sends a statement again that failed because it was prepared before its tables changed: the second time it is prepared
 * afresh. Not where others came before it in its transaction, which is lost.
 */
function repeat(
  session: Session,
  plan: FlightPlan,
  submit: () => void,
  settle: (error: Error) => void,
): boolean {
  if (session.signal?.aborted === true) return false
  if (plan.alone) {
    submit()
    return true
  }
  if (plan.begin === undefined || session.pending > 1) return false
  runNext(session, () => session.client.query('rollback')).then(() => {
    plan.restart()
    submit()
  }, settle)
  return true
}

/** A statement outside of every context is refused as if a grant were missing. */
function hintAtContext(callback: DriverCallback): DriverCallback {
  return (error, result) => {
    const refusal = error as { code?: unknown; hint?: string } | null
    if (refusal?.code === '42501')
      refusal.hint ??=
        'No row-level security context is open here: call it inside runWithRlsContext, or put the middleware before the handler. A body that is read after the handler has returned opens one of its own.'
    callback(error, result)
  }
}

function isFromServer(error: unknown): boolean {
  return typeof (error as { severity?: unknown }).severity === 'string'
}

/** Something between us and the driver has sent a query of its own in place of ours. */
function sentWithoutContext(cause: unknown): RlsError {
  return new RlsError('A statement was sent without its context.', {
    code: 'ERR_RLS_DRIVER_WRAPPED',
    kind: 'internal',
    cause: new Error(
      "Something that wraps the driver's query (tracing that comments SQL, such as addSqlCommenterCommentToQueries) sends a copy of it. Switch that off, or use protocol: 'transaction'.",
      { cause },
    ),
  })
}

/** By the extended protocol, which takes one statement: several in one text would end the transaction of the context. */
async function plainQuery({ client }: Session, { config, values }: Statement): Promise<unknown> {
  const query = typeof config === 'string' ? { text: config } : config
  const { connection } = client as unknown as { connection?: EventEmitter & { sync(): void } }
  // A COPY without a stream fails there only once it is told to go on.
  const goOn = (): void => connection?.sync()
  connection?.once('copyInResponse', goOn)
  try {
    return await client.query(
      { ...query, queryMode: 'extended' } as unknown as QueryConfig,
      values as unknown[],
    )
  } finally {
    connection?.removeListener('copyInResponse', goOn)
  }
}

function emptyResult(command: string): QueryResult {
  return { command, rowCount: null as unknown as number, oid: 0, fields: [], rows: [] }
}
