import { AsyncLocalStorage } from 'node:async_hooks'
import type { Invocation } from './invocation.ts'

const storage = new AsyncLocalStorage<Invocation>()

/** The invocation whose wrappers or handler the caller runs in; undefined outside of any. */
export function currentInvocation(): Invocation | undefined {
  return storage.getStore()
}

/** Runs something as a part of an invocation. Only the pipeline does. */
export function runInInvocation<Result>(invocation: Invocation, run: () => Result): Result {
  return storage.run(invocation, run)
}
