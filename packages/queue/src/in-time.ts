export interface LateOptions<Result> {
  /** Called at the end of the time. */
  readonly onTimeout?: () => void
  /** Takes what comes all the same later. */
  readonly onLate?: (result: Result) => void
}

/** Rejects when a promise takes longer. */
export async function inTime<Result>(
  promise: Promise<Result>,
  timeout: number,
  what: string,
  { onTimeout, onLate }: LateOptions<Result> = {},
): Promise<Result> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    reject(Object.assign(new Error(`${what} within ${timeout} ms.`), { code: 'ETIMEDOUT' }))
    onTimeout?.()
  }, timeout)
  promise.then(
    (result) => (isLate ? onLate?.(result) : undefined),
    () => undefined,
  )
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
