import { z } from 'zod'

/** An amount of money as a decimal string with two places, e.g. `"100.00"`; more than zero. */
export const Amount = z
  .string()
  .regex(/^(?:0|[1-9]\d{0,12})\.\d{2}$/, 'must be a decimal with two places, e.g. "100.00"')
  .refine((value) => value !== '0.00', 'must be more than 0.00')

/** Reads an amount into minor units (cents). */
export function toMinorUnits(amount: string): bigint {
  return BigInt(amount.replace('.', ''))
}

/** Writes minor units as a decimal with two places. */
export function toAmount(minorUnits: bigint | string): string {
  const value = BigInt(minorUnits)
  const digits = (value < 0n ? -value : value).toString().padStart(3, '0')
  return `${value < 0n ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}`
}
