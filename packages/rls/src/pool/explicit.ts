import { contextStatement, sealingContextStatement, sealStatements } from '../context/context-settings.ts'
import type { FlightPlan } from './flight.ts'
import type { Session } from './session.ts'

/** Ends the transaction that was opened for one step. */
export type Commit = () => Promise<unknown>

/**
 * Runs one step after statements of their own: BEGIN and context. The step commits at its end, unless a
 * transaction is open anyway. Steps of one session run one after the other.
 */
export function runExplicitly<Result>(
  session: Session,
  plan: FlightPlan,
  run: (commit: Commit | undefined) => Promise<Result>,
): Promise<Result> {
  const { client } = session
  return runNext(session, async () => {
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
      const result = await run(ownTransaction ? () => client.query('commit') : undefined)
      plan.done()
      return result
    } catch (error) {
      plan.failed(began)
      if (ownTransaction) await rollBack(session)
      throw error
    }
  })
}

async function rollBack(session: Session): Promise<void> {
  try {
    await session.client.query('rollback')
  } catch {
    session.tainted = true
  }
}

/** Runs one step of a session after those before it, and ahead of every statement that is given from now on. */
export function runNext<Result>(session: Session, run: () => Promise<Result>): Promise<Result> {
  const step = session.tail === undefined ? run() : session.tail.then(run)
  const tail = step.then(done, done)
  session.tail = tail
  return step

  function done(): void {
    if (session.tail === tail) session.tail = undefined
  }
}
