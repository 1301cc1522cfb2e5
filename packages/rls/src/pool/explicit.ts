import { contextStatement, sealingContextStatement, sealStatements } from '../context/context-settings.ts'
import { bindSubmittable, type Submittable } from './bound-submittable.ts'
import { FlightPlan } from './flight.ts'
import { settingsFor, type Session } from './session.ts'

/**
 * Runs one step with statements of their own: BEGIN and context before it, COMMIT after it unless a
 * transaction is open anyway. Steps of one session run one after the other.
 */
export function runExplicitly<Result>(
  session: Session,
  plan: FlightPlan,
  run: () => Promise<Result>,
): Promise<Result> {
  const { client } = session
  return enqueue(session, async () => {
    plan.take()
    const { begin, settings, seal } = plan
    const ownTransaction = plan.alone && settings !== undefined
    let began = false
    try {
      if (ownTransaction) await client.query('begin')
      else if (begin !== undefined) {
        await client.query(begin)
        began = true
        plan.begun()
      }
      if (settings !== undefined) {
        if (seal) await client.query(sealStatements.join(';'))
        await client.query(seal ? sealingContextStatement : contextStatement, [...settings.values])
      }
      const result = await run()
      plan.done()
      if (ownTransaction) await client.query('commit')
      return result
    } catch (error) {
      plan.failed(began)
      if (ownTransaction) await rollBack(session)
      throw error
    }
  })
}

/** Hands a submittable to the connection, within a transaction that carries the context and ends with it. */
export function submitExplicitly(session: Session, submittable: Submittable): void {
  const plan = new FlightPlan(session, settingsFor(session))
  bindSubmittable(submittable)
  let submitted = false
  session.streaming = true
  runExplicitly(session, plan, () => {
    const ended = whenEnded(submittable)
    submitted = true
    submitUntimed(session, submittable)
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

/**
 * Submits without the driver's read timeout, which would count the time of the reader too, and fail a stream that has ended
 * long ago: the driver stops its timer in the callback that it puts in place.
 */
function submitUntimed(session: Session, submittable: Submittable): void {
  const { callback } = submittable
  submittable.callback = undefined
  const query = session.client.query as unknown as (submittable: Submittable) => void
  query.call(session.client, submittable)
  const stopTimer = submittable.callback as (() => void) | undefined
  submittable.callback = callback
  stopTimer?.()
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
