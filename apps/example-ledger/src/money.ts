import { z } from 'zod'

/** An amount of money as a decimal string, e.g. `"100.00"`; its currency says how many places it may have. */
export const Amount = z
  .string()
  .regex(/^(?:0|[1-9]\d{0,12})(?:\.\d{1,4})?$/, 'must be a decimal, e.g. "100.00"')
  .refine((value) => Number(value) > 0, 'must be more than 0')

/** Writes minor units as a decimal with as many places as the currency has. */
export function toAmount(minorUnits: bigint | string, places: number): string {
  const value = BigInt(minorUnits)
  const sign = value < 0n ? '-' : ''
  const digits = (value < 0n ? -value : value).toString().padStart(places + 1, '0')
  return places === 0 ? sign + digits : `${sign}${digits.slice(0, -places)}.${digits.slice(-places)}`
}
