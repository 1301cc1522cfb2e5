/** Whether a whole number, as it is written, becomes another one as a number of JavaScript. */
export function losesDigits(written: string): boolean {
  if (!/^-?\d+$/.test(written)) return false
  const value = Number(written)
  return String(value) !== written && (!Number.isFinite(value) || BigInt(value) !== BigInt(written))
}
