/** Milliseconds before the next try: exponential with jitter, between half of `min` and `max`. */
export function pauseBefore(
  failures: number,
  { min, max }: { readonly min: number; readonly max: number },
): number {
  return Math.min(max, min * 2 ** Math.min(failures, 30)) * (0.5 + Math.random() / 2)
}
