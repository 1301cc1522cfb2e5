import { serverError } from '../errors.ts'

const deadlinePattern = /^\d{1,10}$/

/**
 * When a call must be over, in milliseconds since the epoch, for a caller that says how many milliseconds are left
 * until its deadline, and how many it waits for an answer or for a stream to begin.
 *
 * @throws QuintetError `ERR_SERVER_BAD_REQUEST`.
 */
export function deadlineOf(remaining: unknown, timeout: unknown, streams: boolean): number | undefined {
  const limits = [remaining, timeout].map((limit, index) => {
    if (limit === undefined) return undefined
    const text = String(limit)
    if (deadlinePattern.test(text)) return Number(text)
    const name = index === 0 ? 'deadline' : 'timeout'
    throw serverError('ERR_SERVER_BAD_REQUEST', `The ${name} must be a whole number of milliseconds.`)
  })
  const [left, wait] = limits
  const most = streams ? left : earlier(left, wait)
  return most === undefined ? undefined : Date.now() + most
}

function earlier(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined) return other
  return other === undefined ? one : Math.min(one, other)
}
