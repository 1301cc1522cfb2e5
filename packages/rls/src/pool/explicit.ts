import { contextStatement } from '../settings.ts'
import type { Flight } from './context-query.ts'
import { bindSubmittable } from './bound-submittable.ts'
import { settingsFor, takeFlight, type Session } from './session.ts'
import type { StatementTraits } from './statement-text.ts'

/**
 * Runs one step with statements of their own: BEGIN and context before it, COMMIT after it unless a
 * transaction is open anyway. Steps of one session run one after the other.
 */
export function runExplicitly<Result>(
  session: Session,
  flight: Flight,
  run: () => Promise<Result>,
): Promise<Result> {
  const ownTransaction = !session.inTransaction && flight.begin === undefined && flight.settings !== undefined
  return enqueue(session, async () => {
    if (ownTransaction) await session.client.query('begin')
    else if (flight.begin !== undefined) await session.client.query(flight.begin)
    try {
      if (flight.settings !== undefined) await session.client.query(contextStatement, [...flight.settings])
      const result = await run()
      if (ownTransaction) await session.client.query('commit')
      return result
    } catch (error) {
      if (ownTransaction) await rollBack(session)
      throw error
    }
  })
}

/** A cursor, query stream or COPY stream: something that pg lets write to the connection by itself. */
export interface Submittable {
  submit(connection: unknown): void
  handleReadyForQuery?(connection: unknown): void
  handleError?(error: Error, connection: unknown): void
  emit?(event: 'error', error: unknown): boolean
  callback?: unknown
}

const streaming: StatementTraits = {
  kind: 'other',
  command: '',
  touchesSettings: false,
  staysOnConnection: false,
}

/** Hands a submittable to the connection, within a transaction that carries the context and ends with it. */
export function submitExplicitly(session: Session, submittable: Submittable): void {
  const flight = takeFlight(session, settingsFor(session), streaming)
  bindSubmittable(submittable)
  let submitted = false
  session.streaming = true
  runExplicitly(session, flight, () => {
    const ended = whenEnded(submittable)
    submitted = true
    const untyped = session.client.query as unknown as (submittable: Submittable) => void
    untyped.call(session.client, submittable)
    return ended.finally(() => (session.streaming = false))
  }).catch((error: unknown) => {
    session.streaming = false
    session.tainted = true
    if (wasTold.has(error as object)) return
    // BEGIN or the context failed, or the COMMIT did: the holder knows nothing of these statements.
    if (!submitted && submittable.handleError) submittable.handleError(error as Error, connectionOf(session))
    else session.options.onBackgroundError(error)
  })
}

/** Errors that the submittable has got from the driver already. */
const wasTold = new WeakSet<object>()

function whenEnded(submittable: Submittable): Promise<void> {
  return new Promise((resolve, reject) => {
    const { handleReadyForQuery, handleError } = submittable
    submittable.handleReadyForQuery = function (connection) {
      handleReadyForQuery?.call(this, connection)
      resolve()
    }
    submittable.handleError = function (error, connection) {
      wasTold.add(error)
      reject(error)
      handleError?.call(this, error, connection)
    }
  })
}

function connectionOf(session: Session): unknown {
  return (session.client as unknown as { connection: unknown }).connection
}

async function rollBack(session: Session): Promise<void> {
  try {
    await session.client.query('rollback')
  } catch {
    session.tainted = true
  }
}

function enqueue<Result>(session: Session, run: () => Promise<Result>): Promise<Result> {
  const step = session.tail === undefined ? run() : session.tail.then(run)
  const tail = step.then(done, done)
  session.tail = tail
  return step

  function done(): void {
    if (session.tail === tail) session.tail = undefined
  }
}
