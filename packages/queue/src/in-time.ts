/** Rejects when a promise takes longer; what comes of it then is for `onLate`. */
export async function inTime<Result>(
  promise: Promise<Result>,
  timeout: number,
  what: string,
  onLate: (result: Result) => void = () => undefined,
): Promise<Result> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    reject(Object.assign(new Error(`${what} within ${timeout} ms.`), { code: 'ETIMEDOUT' }))
  }, timeout)
  promise.then(
    (result) => (isLate ? onLate(result) : undefined),
    () => undefined,
  )
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
