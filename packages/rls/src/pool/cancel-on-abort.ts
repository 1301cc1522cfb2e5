import { currentInvocation } from '@quintet/core'
import { runDetached } from '../context/rls-context.ts'
import { requestCancel } from '../wire/cancel-request.ts'
import type { DriverCallback } from '../wire/driver.ts'
import type { Session } from './session.ts'

/** The signal of the running invocation, unless it has aborted: what runs after that cleans up. */
function invocationSignal(): AbortSignal | undefined {
  const signal = currentInvocation()?.signal
  return signal?.aborted === true ? undefined : signal
}

/**
 * Cancels what the connection is doing when the invocation that took it is over. The callback then gets the signal's reason in
 * place of the server's 57014, and the connection is not handed on: the request may arrive late.
 */
export function cancelOnAbort(session: Session, callback: DriverCallback): DriverCallback {
  const { signal } = session
  if (signal === undefined) return callback
  const cancel = (): void => {
    session.tainted = true
    void runDetached(() => requestCancel(session.client))
  }
  signal.addEventListener('abort', cancel, { once: true })
  return (error, result) => {
    signal.removeEventListener('abort', cancel)
    const cancelled = signal.aborted && (error as { code?: unknown } | undefined)?.code === '57014'
    callback(cancelled ? (signal.reason as Error) : error, result)
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
