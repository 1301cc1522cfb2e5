import { setTimeout as delay } from 'node:timers/promises'
import type { Answer } from './client.ts'

/** The body of an answer that must have this status. */
export function expectStatus(answer: Answer, status: number, what: string): Record<string, unknown> {
  if (answer.status !== status) {
    throw new Error(`${what}: expected ${status}, got ${answer.status} ${JSON.stringify(answer.body ?? '')}`)
  }
  return (answer.body ?? {}) as Record<string, unknown>
}

export function expectThat(condition: boolean, what: string): void {
  if (!condition) throw new Error(what)
}

/** The member of an answer that must be a string, e.g. a token or an id. */
export function stringOf(body: Record<string, unknown>, member: string): string {
  const value = body[member]
  if (typeof value !== 'string') throw new Error(`The answer has no ${member}: ${JSON.stringify(body)}`)
  return value
}

/** Asks again every few milliseconds until the answer is there, and says how long that took. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined>,
  { timeoutMs = 15_000, everyMs = 20 }: { readonly timeoutMs?: number; readonly everyMs?: number } = {},
): Promise<{ value: T; afterMs: number }> {
  const start = performance.now()
  let reason: unknown
  while (performance.now() - start < timeoutMs) {
    try {
      const value = await ask()
      if (value !== undefined) return { value, afterMs: performance.now() - start }
    } catch (error) {
      reason = error
    }
    await delay(everyMs)
  }
  throw new Error(`${what} did not happen within ${timeoutMs / 1000} s`, { cause: reason })
}

export function milliseconds(value: number): string {
  return value >= 10 ? `${value.toFixed(0)} ms` : `${value.toFixed(1)} ms`
}
