import type { Invocation, InvocationWrapper } from './invocation.ts'

/** Runs the handler inside all wrappers, and holds each to its contract: `next` once, and not left behind. */
export async function runWrapped<Result>(
  invocation: Invocation,
  wrappers: readonly InvocationWrapper[],
  handle: () => Promise<Result> | Result,
): Promise<Result> {
  let state = 'waiting' as 'waiting' | 'running' | 'settled'
  const enter = (index: number): Promise<Result> => {
    const wrapper = wrappers[index]
    return wrapper === undefined ? run() : attempt(() => wrapper(invocation, () => enter(index + 1)))
  }
  const run = async (): Promise<Result> => {
    if (state !== 'waiting') throw new Error('An invocation wrapper called next() more than once.')
    state = 'running'
    try {
      return await handle()
    } finally {
      state = 'settled'
    }
  }
  const result = await enter(0)
  if (state === 'settled') return result
  throw new Error('An invocation wrapper returned without calling next() or without waiting for it.')
}

/** What a wrapper throws before it returns is a rejection too. */
function attempt<Result>(start: () => Promise<Result>): Promise<Result> {
  try {
    return start()
  } catch (error) {
    return Promise.reject(error as Error)
  }
}
