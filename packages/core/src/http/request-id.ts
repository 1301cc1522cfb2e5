import { randomUUID } from 'node:crypto'

const pattern = /^[\w.:-]{1,128}$/

/** The caller's own request id if it is fit to be logged, else a new one. */
export function requestIdOf(value: unknown): string {
  return typeof value === 'string' && pattern.test(value) ? value : randomUUID()
}
