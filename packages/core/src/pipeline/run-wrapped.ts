import type { Invocation, InvocationWrapper } from './invocation.ts'

/** Runs the handler inside all wrappers, and holds each to its contract: `next` once, and not left behind. */
export async function runWrapped<Result>(
  invocation: Invocation,
  wrappers: readonly InvocationWrapper[],
  handle: () => Promise<Result> | Result,
): Promise<Result> {
  let state = 'waiting' as 'waiting' | 'running' | 'settled'
  const enter = async (index: number): Promise<Result> => {
    const wrapper = wrappers[index]
    if (wrapper !== undefined) return await wrapper(invocation, () => enter(index + 1))
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
