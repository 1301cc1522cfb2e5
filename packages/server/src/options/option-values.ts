/** @throws TypeError when it is not a port. */
export function parsePort(port: number, path: string): number {
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new TypeError(`${path}: ${JSON.stringify(port)} is not a port. Give 0 (any free one) to 65535.`)
}

/** @throws TypeError when it is not a positive whole number. */
export function parseCount(count: number, path: string): number {
  if (Number.isSafeInteger(count) && count > 0) return count
  throw new TypeError(`${path}: ${JSON.stringify(count)} is not a positive whole number.`)
}
