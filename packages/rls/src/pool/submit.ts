import { bindSubmittable, type Submittable } from './bound-submittable.ts'
import { cancelOnAbort } from './cancel-on-abort.ts'
import { runExplicitly } from './explicit.ts'
import { FlightPlan } from './flight.ts'
import { settingsFor, type Session } from './session.ts'
import { Submission } from './submission.ts'

/**
 * Hands a cursor or stream to the connection, within a transaction that carries the context and ends with it. When the
 * invocation that took the connection is over, it fails with the signal's reason, and what the server does for it is cancelled.
 */
export function submitExplicitly(session: Session, submittable: Submittable): void {
  const { signal } = session
  const settings = settingsFor(session)
  bindSubmittable(submittable)
  const submission = new Submission(submittable, () => (session.streaming = false))
  if (signal?.aborted === true) {
    process.nextTick(() => submission.abort(signal.reason as Error))
    return
  }
  session.streaming = true
  const settle = cancelOnAbort(session, (error) => {
    if (error) submission.abort(error)
  })
  runExplicitly(session, new FlightPlan(session, settings), (commit) =>
    submission.run(() => submitUntimed(session, submittable), commit),
  )
    .catch((error: Error) => {
      session.tainted = true
      // BEGIN or the context has failed.
      submission.abort(error)
    })
    .finally(() => {
      session.streaming = false
      settle(null)
      submission.over()
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
