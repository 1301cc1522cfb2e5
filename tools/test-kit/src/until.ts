import { setTimeout as delay } from 'node:timers/promises'

/** Waits until the condition holds (returns something truthy) and returns that; fails after the timeout with the last reason. */
export async function until<T>(condition: () => T | Promise<T>, timeoutMs = 10_000): Promise<NonNullable<T>> {
  const end = performance.now() + timeoutMs
  let reason: unknown
  for (;;) {
    try {
      const value = await condition()
      if (value) return value
      reason = undefined
    } catch (error) {
      reason = error
    }
    if (performance.now() > end) {
      throw new Error(`The condition did not hold within ${timeoutMs} ms: ${condition.toString()}`, {
        cause: reason,
      })
    }
    await delay(10)
  }
}
