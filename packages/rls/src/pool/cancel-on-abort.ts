import { currentInvocation } from '@quintet/core'
import { runDetached } from '../context/rls-context.ts'
import { destroySocket } from '../sql/answer-within.ts'
import { requestCancel } from '../wire/cancel-request.ts'
import type { DriverCallback } from '../wire/driver.ts'
import { unansweredAfter, type Session } from './session.ts'

/** The signal of the running invocation, unless it has aborted: what runs after that cleans up. */
export function invocationSignal(): AbortSignal | undefined {
  const signal = currentInvocation()?.signal
  return signal?.aborted === true ? undefined : signal
}

/** Milliseconds between two requests: one that arrives between two statements cancels neither. */
const cancelInterval = 250

/**
 * Cancels what the connection is doing when the invocation that took it is over. The callback gets the signal's reason at
 * once, and the connection is not handed on: the request may arrive late. A server that does not answer the statement in
 * time either loses the connection, so that nothing waits on it for ever.
 */
export function cancelOnAbort(session: Session, callback: DriverCallback): DriverCallback {
  const { signal } = session
  if (signal === undefined) return callback
  let unanswered: NodeJS.Timeout | undefined
  let again: NodeJS.Timeout | undefined
  const cancel = (): void => {
    session.tainted = true
    runDetached(() => {
      unanswered = setTimeout(() => destroySocket(session.client), unansweredAfter)
      again = setInterval(() => void requestCancel(session.client), cancelInterval)
      void requestCancel(session.client)
    })
    callback(signal.reason as Error)
  }
  signal.addEventListener('abort', cancel, { once: true })
  return (error, result) => {
    signal.removeEventListener('abort', cancel)
    clearTimeout(unanswered)
    clearInterval(again)
    if (unanswered === undefined) callback(error, result)
  }
}

type Take = (callback: (error: Error | undefined, session?: Session) => void) => void

/** Waits for a connection no longer than until the running invocation is over. One that comes later goes back. */
export function takeForInvocation(take: Take, giveBack: (session: Session) => void): Take {
  return (callback) => {
    const signal = invocationSignal()
    if (signal === undefined) return take(callback)
    let settled = false
    const abort = (): void => {
      settled = true
      callback(signal.reason as Error)
    }
    signal.addEventListener('abort', abort, { once: true })
    take((error, session) => {
      if (settled) {
        if (session !== undefined) giveBack(session)
        return
      }
      settled = true
      signal.removeEventListener('abort', abort)
      if (session !== undefined) session.signal = signal
      callback(error, session)
    })
  }
}
