/** A number of bytes: as a number, or a literal such as `'64kb'`, `'1mb'`, `'10gb'` (powers of 1024). */
export type Size = number | `${number}${'b' | 'kb' | 'mb' | 'gb' | 'tb'}`

const unitBytes: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1024,
  mb: 1024 ** 2,
  gb: 1024 ** 3,
  tb: 1024 ** 4,
}

/**
 * Reads a {@link Size} into bytes.
 *
 * @param path names the option in the error, e.g. `http.maxRequestSize`.
 * @throws TypeError when the value is negative, not a whole number of bytes or not a size.
 */
export function parseSize(value: Size, path = 'size'): number {
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value) && value >= 0) return value
  } else if (typeof value === 'string') {
    const match = /^(\d+(?:\.\d+)?)(b|kb|mb|gb|tb)$/i.exec(value)
    if (match) {
      const bytes = Number(match[1]) * (unitBytes[(match[2] ?? '').toLowerCase()] ?? Number.NaN)
      if (Number.isSafeInteger(bytes)) return bytes
    }
  }
  throw new TypeError(
    `${path}: ${JSON.stringify(value)} is not a size. Give bytes, or a literal such as '64kb', '1mb' or '10gb'.`,
  )
}
