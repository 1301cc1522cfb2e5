import { describe, expect, it } from 'vitest'
import { Amount, toAmount } from '../src/money.ts'

describe('money', () => {
  it('is written with as many places as its currency has', () => {
    expect(toAmount(-5n, 2)).toBe('-0.05')
    expect(toAmount('-12345', 2)).toBe('-123.45')
    expect(toAmount('12345', 0)).toBe('12345')
    expect(toAmount('12345', 3)).toBe('12.345')
    expect(toAmount('0', 2)).toBe('0.00')
  })

  it.each(['0.00', '0', '-1.00', '01.00', '1e3', '', ' 1.00', '1.', '1.00000', '99999999999999.99'])(
    'refuses %j',
    (amount) => {
      expect(Amount.safeParse(amount).success).toBe(false)
    },
  )

  it.each(['0.01', '1', '70.5', '9999999999999.99'])('takes %j', (amount) => {
    expect(Amount.parse(amount)).toBe(amount)
  })
})
