import { AsyncLocalStorage } from 'node:async_hooks'

const moduleLoad = AsyncLocalStorage.snapshot()

/**
 * Runs outside of the async context of the caller. What a socket or an interval calls back inherits the context in
 * which it was opened, so one that outlives its caller is opened here.
 */
export function detached<Result>(run: () => Result): Result {
  return moduleLoad(run)
}
