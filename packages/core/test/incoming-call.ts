import { noCredentials, type IncomingCall, type Operation } from '../src/kit.ts'
import type { AccessRule } from '../src/index.ts'

/** A call of an operation that everybody may use and that has no limit, unless told otherwise. */
export function incomingCall(
  overrides: Partial<IncomingCall> & { readonly access?: AccessRule; readonly timeout?: number } = {},
): IncomingCall {
  const { access = 'public', timeout = 0, ...call } = overrides
  const operation: Operation = { surface: 'rpc', name: 'objects.list', access, freshness: undefined, timeout }
  return {
    operation,
    credentials: noCredentials,
    requestId: 'r-1',
    signal: new AbortController().signal,
    ...call,
  }
}

/** Rejects with the reason of the signal when it aborts. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
