/** For ever, in pauses that double from `min` to `max`, each drawn from its upper half so that clients spread. */
export function backoff({
  min,
  max,
}: {
  readonly min: number
  readonly max: number
}): (attempt: number) => number {
  return (attempt) => {
    const full = Math.min(max, min * 2 ** Math.min(attempt - 1, 30))
    return Math.round(full / 2 + (Math.random() * full) / 2)
  }
}
