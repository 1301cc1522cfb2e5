import { describe, expect, it } from 'vitest'
import { Amount, toAmount, toMinorUnits } from '../src/money.ts'

describe('money', () => {
  it('reads and writes decimals with two places without rounding', () => {
    for (const amount of ['0.01', '1.00', '70.01', '9999999999999.99'])
      expect(toAmount(toMinorUnits(amount))).toBe(amount)
    expect(toAmount(-5n)).toBe('-0.05')
    expect(toAmount('-12345')).toBe('-123.45')
  })

  it.each(['0.00', '-1.00', '1', '1.0', '1.001', '01.00', '1e3', '', ' 1.00', '99999999999999.99'])(
    'refuses %j',
    (amount) => {
      expect(Amount.safeParse(amount).success).toBe(false)
    },
  )
})
